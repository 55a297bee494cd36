//! A real server of names on loopback: records as they come by the network.

use super::{ALL, LOCATED_MAX, Wanted, run, text};
use crate::probe::resolver::{Family, Lookup as _, Resolver};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long the server may take to come up.
const START_MAX: Duration = Duration::from_secs(10);

/// Its zones. What is not said is not there; `bare.test` has nothing but an address.
const ARGUMENTS: [&str; 19] = [
    "--local=/test/",
    "--naptr-record=corp.test,50,50,s,SIPS+D2T,,_sips._tcp.corp.test",
    "--naptr-record=corp.test,90,50,s,SIP+D2T,,_sip._tcp.corp.test",
    "--naptr-record=corp.test,100,50,s,SIP+D2U,,_sip._udp.corp.test",
    "--srv-host=_sips._tcp.corp.test,one.corp.test,5061,0,0",
    "--srv-host=_sip._tcp.corp.test,one.corp.test,5062,0,0",
    "--srv-host=_sip._udp.corp.test,two.corp.test,5063,20,0",
    "--srv-host=_sip._udp.corp.test,dead.corp.test,5063,0,0",
    "--srv-host=_sip._udp.corp.test,one.corp.test,5063,10,0",
    "--host-record=one.corp.test,127.0.0.1,::1",
    "--host-record=two.corp.test,127.0.0.2",
    "--srv-host=_sip._tcp.plain.test,one.corp.test,5070,0,0",
    "--host-record=plain.test,127.0.0.3",
    "--srv-host=_sip._udp.denied.test",
    "--host-record=denied.test,127.0.0.4",
    "--host-record=bare.test,127.0.0.5",
    "--host-record=bare.test,127.0.0.6",
    "--host-record=six.test,::1",
    "--host-record=up.test,127.0.0.1",
];

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// `None` where the program is not installed.
    async fn start() -> Option<Self> {
        let address = free_address();
        let child = Command::new("dnsmasq")
            .args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--bind-interfaces", "--listen-address=127.0.0.1"])
            .arg(format!("--port={}", address.port()))
            .args(ARGUMENTS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut server = match child {
            Ok(child) => Self { child, address },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("dnsmasq: {error}"),
        };
        let resolver = server.resolver();
        let up = async {
            while resolver.addresses("up.test.", Family::V4).await.is_err() {
                assert_eq!(server.child.try_wait().expect("is ours"), None, "dnsmasq has ended");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(START_MAX, up).await.expect("dnsmasq comes up");
        Some(server)
    }

    fn resolver(&self) -> Resolver {
        Resolver::with_servers(vec![self.address])
    }
}

/// A port that is free for both ways of asking.
fn free_address() -> SocketAddr {
    for _ in 0..100 {
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let address = datagrams.local_addr().expect("bound");
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free for UDP and TCP");
}

/// As the suites say it that stand outside the programs.
fn skip(test: &str) {
    let line = format!("skipped: needs dnsmasq (tests/run installs it) ({test})");
    println!("{line}");
    if let Some(path) = std::env::var_os("PROBEFLEET_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| writeln!(file, "{line}")).expect("is writable");
    }
}

#[tokio::test]
async fn a_real_server_leads_to_the_same() {
    let Some(server) = Server::start().await else {
        return skip("a_real_server_leads_to_the_same");
    };
    let resolver = server.resolver();
    let cases: [(&str, &[&str]); 9] = [
        ("sip:a@corp.test", &["tls one.corp.test 127.0.0.1:5061"]),
        ("sips:a@corp.test", &["tls one.corp.test 127.0.0.1:5061"]),
        ("sip:a@corp.test;transport=tcp", &["tcp one.corp.test 127.0.0.1:5062"]),
        (
            "sip:a@corp.test;transport=udp",
            &["udp one.corp.test 127.0.0.1:5063", "udp two.corp.test 127.0.0.2:5063"],
        ),
        ("sip:a@plain.test", &["tcp one.corp.test 127.0.0.1:5070"]),
        ("sip:a@denied.test", &["nodata"]),
        (
            "sip:a@bare.test;transport=tcp",
            &["tcp bare.test 127.0.0.5:5060", "tcp bare.test 127.0.0.6:5060"],
        ),
        ("sip:a@six.test", &["udp six.test [::1]:5060"]),
        ("sip:a@gone.test", &["nxdomain"]),
    ];
    for (uri, expected) in cases {
        let mut found = text(run(&resolver, uri, ALL).await);
        // Addresses of one name are in the server's order, which turns.
        if uri.contains("bare") {
            found.sort();
        }
        assert_eq!(found, expected, "{uri}");
    }
    let wanted = Wanted { family: Family::V6, most: LOCATED_MAX };
    let found = text(run(&resolver, "sip:a@corp.test", wanted).await);
    assert_eq!(found, ["tls one.corp.test [::1]:5061"]);
    // Names outside its zones it refuses, whatever is asked.
    assert_eq!(text(run(&resolver, "sip:a@elsewhere.example", ALL).await), ["servfail"]);
}
