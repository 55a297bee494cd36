//! Callers and strangers, on a clock of our own.

use super::*;
use crate::probe::sip::media::rtp::Header;
use proptest::prelude::*;

const CALLER: &str = "192.0.2.1:4000";
const CALLER_CONTROL: &str = "192.0.2.1:4001";
/// The same host, from behind a translation of ports.
const TRANSLATED: &str = "192.0.2.1:60000";
const SIGNALLING: &str = "198.51.100.9:7000";
const STRANGER: &str = "203.0.113.5:4000";

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn party(seed: u64) -> Party {
    let (place, signalling) = (Some(at(CALLER)), Some(at(SIGNALLING).ip()));
    Party { place, signalling, listens: true, seed }
}

struct Line {
    echo: Echo,
    counts: Arc<Counts>,
    now: Instant,
}

impl Line {
    fn new() -> Self {
        let counts = Arc::<Counts>::default();
        Self { echo: Echo::new(Arc::clone(&counts)), counts, now: Instant::now() }
    }

    fn with_call(party: Party) -> Self {
        let mut line = Self::new();
        line.echo.open(1, party, line.now);
        line
    }

    /// One packet, 20 ms after the one before; what comes back.
    fn says(&mut self, number: u16, source: &str) -> Option<Vec<u8>> {
        self.now += Duration::from_millis(20);
        let mut bytes = packet(number);
        self.echo.data(&mut bytes, at(source), self.now).then_some(bytes)
    }

    fn reports(&mut self, ssrc: u32, source: &str) -> Option<Compound> {
        let info = SenderInfo { ntp: 0x0001_0002_0003_0004, timestamp: 0, packets: 1, octets: 160 };
        let (sender, block) = (Some(info), None);
        let report = Outgoing { ssrc, sender, block, cname: "caller", goodbye: false }.write();
        let answer = self.echo.control(&report, at(source), self.now)?;
        assert!(answer.len() < 100, "{} bytes", answer.len());
        Some(Compound::read(&answer).expect("is read"))
    }
}

const SSRC: u32 = 77;

fn packet(number: u16) -> Vec<u8> {
    let timestamp = u32::from(number) * 160;
    let header =
        Header { marker: number == 0, payload_type: 8, sequence: number, timestamp, ssrc: SSRC };
    Packet { header, payload: &[0xd5; 160] }.write()
}

#[test]
fn what_is_said_comes_back_as_anothers() {
    let mut line = Line::with_call(party(0x1_0000_0005));
    for number in 0..10 {
        let echoed = line.says(number, CALLER).expect("comes back");
        let (sent, back) = (packet(number), Packet::read(&echoed).expect("is read"));
        assert_eq!(back.header.ssrc, 5);
        assert_eq!((&echoed[..8], &echoed[12..]), (&sent[..8], &sent[12..]));
    }
    assert_eq!((line.counts.echoed.get(), line.counts.unheard.get()), (10, 0));
}

#[test]
fn strangers_are_not_answered() {
    let mut line = Line::new();
    assert_eq!(line.says(0, CALLER), None, "nobody has called");
    line.echo.open(1, party(1), line.now);
    assert_eq!(line.says(0, STRANGER), None);
    assert!(line.says(0, CALLER).is_some());
    assert_eq!(line.says(1, TRANSLATED), None, "the caller is heard from one place");
    assert_eq!(line.echo.control(b"garbage", at(CALLER), line.now), None);
    let garbage = line.echo.data(&mut [0x40; 172], at(CALLER), line.now);
    assert!(!garbage, "no audio");
    line.echo.close(1);
    assert_eq!(line.says(1, CALLER), None, "the call is over");
    assert_eq!((line.counts.echoed.get(), line.counts.unheard.get()), (1, 5));
}

#[test]
fn a_caller_behind_a_translation_is_heard() {
    for source in [TRANSLATED, SIGNALLING] {
        let mut line = Line::with_call(party(1));
        assert!(line.says(0, source).is_some(), "{source}");
        assert!(line.says(1, source).is_some(), "{source}");
        assert_eq!(line.says(2, CALLER), None, "it was heard from elsewhere");
    }
}

#[test]
fn callers_of_one_address_are_told_apart() {
    let mut line = Line::with_call(party(1));
    let other = Party { place: Some(at("192.0.2.1:5000")), ..party(2) };
    line.echo.open(2, other, line.now);
    let ssrc = |bytes: Vec<u8>| Packet::read(&bytes).expect("is read").header.ssrc;
    assert_eq!(line.says(0, "192.0.2.1:5000").map(ssrc), Some(2));
    assert_eq!(line.says(0, CALLER).map(ssrc), Some(1));
    line.echo.close(1);
    assert_eq!(line.says(1, CALLER), None, "the other one is heard elsewhere");
    assert_eq!(line.says(1, "192.0.2.1:5000").map(ssrc), Some(2));
}

#[test]
fn who_does_not_listen_hears_nothing() {
    let mut line = Line::with_call(Party { listens: false, ..party(1) });
    assert_eq!(line.says(0, CALLER), None);
    assert_eq!(line.says(1, CALLER), None);
    let report = line.reports(SSRC, CALLER_CONTROL).expect("but is told what came");
    assert_eq!((report.sender, report.blocks.len()), (None, 1));
}

#[test]
fn nobody_gets_more_than_a_telephone_says() {
    let mut line = Line::with_call(party(1));
    let back = (0..500).filter(|number| {
        let mut bytes = packet(*number);
        line.echo.data(&mut bytes, at(CALLER), line.now)
    });
    assert_eq!(back.count(), 100);
}

#[test]
fn a_report_is_answered_with_what_came() {
    let mut line = Line::with_call(party(0x0000_0001_0000_0005));
    assert_eq!(line.reports(SSRC, CALLER_CONTROL), None, "nothing was said");
    for number in (0..50).filter(|number| number % 10 != 5) {
        line.says(number, CALLER);
    }
    assert_eq!(line.reports(SSRC + 1, CALLER_CONTROL), None, "somebody else");
    assert_eq!(line.reports(SSRC, STRANGER), None, "from elsewhere");
    let report = line.reports(SSRC, CALLER_CONTROL).expect("a report");
    let sender = report.sender.expect("it speaks");
    assert_eq!((report.ssrc, sender.packets, sender.octets), (5, 45, 45 * 160));
    assert_eq!(sender.timestamp, 49 * 160);
    let block = report.blocks[0];
    assert_eq!((block.ssrc, block.cumulative_lost, block.fraction_lost), (SSRC, 5, 25));
    assert_eq!((block.highest, block.last_report, block.delay), (49, 0x0002_0003, 0));
    line.now += Duration::from_secs(1);
    assert_eq!(line.reports(SSRC, CALLER_CONTROL), None, "nothing was said since");
    line.says(50, CALLER);
    assert!(line.reports(SSRC, CALLER_CONTROL).is_some());
    line.says(51, CALLER);
    assert_eq!(line.reports(SSRC, CALLER_CONTROL), None, "within a second");
    assert_eq!(line.counts.reports.get(), 2);
}

proptest! {
    /// Whatever comes from whomever: no panic, and nothing comes back but to a caller's address, as long as it was.
    #[test]
    fn nothing_goes_elsewhere(
        steps in prop::collection::vec((0..5_u8, 0..3_u64, 0..5_usize, 0..20_u16), 0..100),
    ) {
        let mut line = Line::new();
        let mut up = [false; 3];
        for (step, call, source, number) in steps {
            let source = [CALLER, CALLER_CONTROL, TRANSLATED, SIGNALLING, STRANGER][source];
            match step {
                0 => {
                    let is_up = &mut up[usize::try_from(call).expect("small")];
                    if !*is_up {
                        line.echo.open(call, party(call), line.now);
                    }
                    *is_up = true;
                }
                1 => {
                    line.echo.close(call);
                    up[usize::try_from(call).expect("small")] = false;
                }
                2 => {
                    let answered = line.reports(SSRC, source).is_some();
                    prop_assert!(!answered || up.contains(&true) && source != STRANGER);
                }
                _ => {
                    let back = line.says(number, source);
                    prop_assert!(back.as_ref().is_none_or(|bytes| bytes.len() == 172));
                    prop_assert!(back.is_none() || up.contains(&true) && source != STRANGER);
                }
            }
            prop_assert_eq!(line.echo.legs.len(), up.iter().filter(|up| **up).count());
        }
    }
}
