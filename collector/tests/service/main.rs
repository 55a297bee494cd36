//! The collector as a service: a real one, real agents' sessions over real mutual TLS, real pages.

mod golden;
mod pages;
mod process;
mod refusals;
mod sample;
mod sessions;
mod support;
