//! The peers: Debian's prometheus-blackbox-exporter, driven over loopback, and wrk.

use super::{BLACKBOX, WARM_UP, WRK};
use crate::machine::{MEASURED, Spent, watch};
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use harness::process::{Process, eventually};
use harness::target::Target;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Probes that are asked for at once.
const SCRAPERS: u32 = 64;

const BLACKBOX_CONFIG: &str =
    "modules: {http_2xx: {prober: http, http: {preferred_ip_protocol: ip4}}}\n";

/// Every probe is a GET /probe: as many as it answers, or so many a second.
pub fn blackbox(window: Duration, per_s: Option<u32>) -> anyhow::Result<Spent> {
    let dir = tempfile::tempdir()?;
    let target = Target::start();
    let (process, address) = start_blackbox(dir.path())?;
    let stop = Arc::new(AtomicBool::new(false));
    let succeeded = Arc::new(AtomicU64::new(0));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let scrape = Scrape {
        address,
        path: format!("/probe?module=http_2xx&target=http://{}/", target.address),
        pause: per_s.map(|per_s| Duration::from_secs(1) * SCRAPERS / per_s),
        stop: Arc::clone(&stop),
        succeeded: Arc::clone(&succeeded),
    };
    let scrapers: Vec<_> =
        (0..SCRAPERS).map(|number| runtime.spawn(scrape.clone().run(number))).collect();
    std::thread::sleep(WARM_UP);
    let spent = watch(&process, window, || target.count());
    stop.store(true, Ordering::Relaxed);
    for scraper in scrapers {
        runtime.block_on(scraper)??;
    }
    let (asked, succeeded) = (target.count(), succeeded.load(Ordering::Relaxed));
    ensure!(asked == succeeded, "{asked} attempts at the target, {succeeded} probes succeeded");
    Ok(spent)
}

fn start_blackbox(dir: &Path) -> anyhow::Result<(Process, SocketAddr)> {
    let config = dir.join("blackbox.yml");
    std::fs::write(&config, BLACKBOX_CONFIG)?;
    // It does not say which port it got, so it is given one that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let args = [
        format!("--config.file={}", config.display()),
        format!("--web.listen-address={address}"),
        "--log.level=error".to_owned(),
    ];
    let log = dir.join("blackbox.log");
    let process = Process::start_on_core(MEASURED, Path::new(BLACKBOX), &args, &log);
    let listens =
        eventually(Duration::from_secs(20), || TcpStream::connect(address).ok().map(drop));
    ensure!(listens.is_some(), "{BLACKBOX} does not listen:\n{}", process.output());
    Ok((process, address))
}

/// One who asks for probes, over one connection.
#[derive(Clone)]
struct Scrape {
    address: SocketAddr,
    path: String,
    pause: Option<Duration>,
    stop: Arc<AtomicBool>,
    succeeded: Arc<AtomicU64>,
}

impl Scrape {
    async fn run(self, number: u32) -> anyhow::Result<()> {
        let stream = tokio::net::TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut ticks = self.pause.map(|pause| {
            // Spread over the pause, as the agent's probes are.
            let first = tokio::time::Instant::now() + pause * number / SCRAPERS;
            let mut ticks = tokio::time::interval_at(first, pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            let request = Request::get(&self.path)
                .header("host", self.address.to_string())
                .body(Empty::<Bytes>::new())?;
            let body = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
            let text = std::str::from_utf8(&body)?;
            ensure!(text.contains("\nprobe_success 1\n"), "a probe did not succeed:\n{text}");
            self.succeeded.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// `wrk` with a connection for each request.
pub fn wrk(window: Duration) -> anyhow::Result<Spent> {
    const CONNECTIONS: u64 = 64;
    let dir = tempfile::tempdir()?;
    let target = Target::start();
    let seconds = (window + 2 * WARM_UP).as_secs() + 1;
    let args = [
        "-t1".to_owned(),
        format!("-c{CONNECTIONS}"),
        format!("-d{seconds}s"),
        "-H".to_owned(),
        "Connection: close".to_owned(),
        format!("http://{}/", target.address),
    ];
    let log = dir.path().join("wrk.log");
    let mut process = Process::start_on_core(MEASURED, Path::new(WRK), &args, &log);
    std::thread::sleep(WARM_UP);
    let spent = watch(&process, window, || target.count());
    ensure!(process.wait(window + Duration::from_secs(60)), "{}", process.output());
    let output = process.output();
    if output.contains("Non-2xx") || output.contains("Socket errors") {
        bail!("wrk saw errors:\n{output}");
    }
    let made = output.lines().find_map(|line| line.trim().split_once(" requests in "));
    let made: u64 = made.and_then(|(made, _)| made.parse().ok()).context("wrk says no count")?;
    // It does not count what is under way when its time is up, nor the connection it tries first.
    let asked = target.count();
    ensure!(
        (made..=made + 2 * CONNECTIONS).contains(&asked),
        "the target was asked {asked} times, wrk counts {made}"
    );
    Ok(spent)
}
