//! Bodies without an end, in chunks of one byte: whoever reads them is busy with nothing else.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const CHUNK: &[u8] = b"1\r\n.\r\n";
/// So many are written at once.
const CHUNKS: usize = 10_000;
/// Longest request that is read.
const REQUEST_MAX_BYTES: usize = 4_096;

/// A server of such bodies; serves as long as it is held.
pub struct Downloads {
    /// Where it listens.
    pub address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Downloads {
    /// Starts on a port of its own.
    pub fn start() -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Ok(Self { address, _runtime: runtime })
    }
}

/// Goes on until the other side has had enough.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 || request.len() > REQUEST_MAX_BYTES {
            return Ok(());
        }
    }
    stream.write_all(HEAD).await?;
    let chunks = CHUNK.repeat(CHUNKS);
    loop {
        stream.write_all(&chunks).await?;
    }
}
