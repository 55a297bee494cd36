//! The collector as a service: a real one, real agents' sessions over real mutual TLS, real pages.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod digests;
#[cfg(test)]
mod durations;
#[cfg(test)]
mod events;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod process;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod support;
