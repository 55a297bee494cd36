//! What is refused is not even tried: no packet leaves the machine.

use super::{AGENT, ENDS, at, folder, write};
use harness::command::shell;
use std::net::{IpAddr, TcpListener, ToSocketAddrs as _, UdpSocket};

/// An address of this machine beyond the loopback, if it has one. Nothing is sent to find it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[test]
fn without_tls_an_agent_says_nothing_to_another_machine() {
    let Some(ip) = own_address() else {
        harness::skip(
            "without_tls_an_agent_says_nothing_to_another_machine",
            "an address beyond the loopback",
        );
        return;
    };
    let listener = TcpListener::bind((ip, 0)).expect("is ours");
    listener.set_nonblocking(true).expect("can");
    let address = listener.local_addr().expect("bound");
    let nobody_came = |what: &str| {
        let came = listener.accept();
        assert!(came.is_err(), "{what}: a connection came: {came:?}");
    };
    let dir = folder();
    let config = |host: &str| AGENT.replace("127.0.0.1:9", &format!("{host}:{}", address.port()));
    write(dir.path(), "agent.yaml", config(&ip.to_string()).as_bytes());
    let ran = at(dir.path(), "probefleet-agent run --config agent.yaml");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("agent.yaml:1:12: bad-url: the collector's URL: it is another machine"),
        "{}",
        ran.stderr
    );
    assert!(!dir.path().join("state").exists(), "nothing is made");
    nobody_came("by its address");

    // A name is refused when it is known where it leads.
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux").trim().to_owned();
    let found =
        (name.as_str(), 0).to_socket_addrs().map(|all| all.map(|to| to.ip()).collect::<Vec<_>>());
    if !found.is_ok_and(|found| found == [ip]) {
        println!("the machine's name {name} does not lead to {ip}: only the address was tried");
        return;
    }
    write(dir.path(), "agent.yaml", config(&name).as_bytes());
    let command = shell(dir.path(), "exec probefleet-agent run --config agent.yaml");
    let mut agent = harness::process::Process::start_command(command, &dir.path().join("log"));
    agent.wait_for_output("without TLS nothing is sent to another", ENDS);
    assert!(agent.terminate(ENDS).1, "ends well:\n{}", agent.output());
    nobody_came("by its name");
}
