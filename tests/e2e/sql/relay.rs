//! A relay before the server: it writes down how each connection begins, and can swallow what the server says.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// `CancelRequest` (PostgreSQL 15 §55.7): its length and its code.
const CANCEL: [u8; 8] = [0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e];
/// No connection of a test lives longer than this.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// The relay; its threads end with their connections, the listener with the test.
pub struct Relay {
    pub port: u16,
    cancels: Arc<Mutex<Vec<[u8; 16]>>>,
}

impl Relay {
    /// To a server on the loopback; once a client has said `muted`, it hears nothing any more.
    pub fn start(server: u16, muted: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let cancels = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&cancels);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || relay(client, server, muted, &seen));
            }
        });
        Self { port, cancels }
    }

    /// The cancel requests that passed.
    pub fn cancels(&self) -> Vec<[u8; 16]> {
        self.cancels.lock().expect("not poisoned").clone()
    }
}

fn relay(mut client: TcpStream, server: u16, muted: &str, cancels: &Mutex<Vec<[u8; 16]>>) {
    let mut server = TcpStream::connect(("127.0.0.1", server)).expect("the server listens");
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(IDLE_MAX)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
    }
    let silent = Arc::new(Mutex::new(false));
    let back = {
        let (mut server, mut client) =
            (server.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
        let silent = Arc::clone(&silent);
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(length @ 1..) = server.read(&mut bytes) {
                let silent = *silent.lock().expect("not poisoned");
                if !silent && client.write_all(&bytes[..length]).is_err() {
                    break;
                }
            }
            let _closed_by_the_client = client.shutdown(Shutdown::Both);
        })
    };
    let mut bytes = [0; 4_096];
    let mut first = true;
    while let Ok(length @ 1..) = client.read(&mut bytes) {
        let said = &bytes[..length];
        if std::mem::take(&mut first) && said.starts_with(&CANCEL) {
            cancels.lock().expect("not poisoned").push(said.try_into().expect("16 bytes"));
        }
        if String::from_utf8_lossy(said).contains(muted) {
            *silent.lock().expect("not poisoned") = true;
        }
        if server.write_all(said).is_err() {
            break;
        }
    }
    let _closed_by_the_server = server.shutdown(Shutdown::Both);
    back.join().expect("ends");
}
