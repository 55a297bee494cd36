//! An HTTP target that writes down when it was asked: nothing of the code under test is in it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n";
/// Longest request that is read.
const REQUEST_MAX_BYTES: usize = 4_096;

/// The target; answers as long as it is held.
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Instant>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Target {
    /// Starts on a port of its own.
    pub fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
            socket.listen(4_096).expect("listens")
        });
        let address = listener.local_addr().expect("bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        runtime.spawn(serve(listener, Arc::clone(&asked)));
        Self { address, asked, _runtime: runtime }
    }

    /// How often it was asked so far.
    pub fn count(&self) -> u64 {
        self.asked.lock().expect("not poisoned").len() as u64
    }

    /// Of the stretches of 100 ms between two instants: the fullest, and the mean.
    pub fn peak_and_mean_per_100_ms(&self, from: Instant, until: Instant) -> (u64, f64) {
        let stretches = (until - from).as_millis() as usize / 100;
        let mut counts = vec![0_u64; stretches];
        for at in self.asked.lock().expect("not poisoned").iter().filter(|at| **at >= from) {
            if let Some(count) = counts.get_mut((*at - from).as_millis() as usize / 100) {
                *count += 1;
            }
        }
        let sum: u64 = counts.iter().sum();
        (counts.iter().copied().max().unwrap_or(0), sum as f64 / stretches as f64)
    }
}

async fn serve(listener: TcpListener, asked: Arc<Mutex<Vec<Instant>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, Arc::clone(&asked)));
    }
}

async fn answer(mut stream: TcpStream, asked: Arc<Mutex<Vec<Instant>>>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read =
            tokio::time::timeout(Duration::from_secs(5), stream.read_buf(&mut request)).await;
        if !matches!(read, Ok(Ok(1..))) || request.len() > REQUEST_MAX_BYTES {
            return;
        }
    }
    asked.lock().expect("not poisoned").push(Instant::now());
    if stream.write_all(ANSWER).await.is_ok() {
        let _closed_by_the_other_side = stream.shutdown().await;
    }
}
