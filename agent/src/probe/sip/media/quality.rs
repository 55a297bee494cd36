//! How a call sounds, by the E-model (ITU-T G.107 06/2015): R, and from it the estimated MOS-CQE. Pure.
//!
//! All that an agent cannot measure has the default of G.107 §7.7: telephones, rooms, and no echo. What it can measure
//! is loss (`Ie,eff`) and delay (`Idd`). This rates a call; it judges nothing.

use super::PACKET_NS;
use super::receiver::{JITTER_BUFFER, Reception};
use probefleet_proto::clock::saturating_ns;

/// R of a call without loss and delay: `Ro − Is` with every default (G.107 §7.7).
const R_DEFAULT: f64 = 93.2;
/// Ie of G.711 (G.113 appendix I, table I.1).
const IE: f64 = 0.0;
/// Bpl of G.711 with packet loss concealment, as every telephone has (G.113 appendix I, table I.2).
const BPL: f64 = 25.1;
/// Ie of speech that nobody understands (G.107 §7.5).
const IE_MAX: f64 = 95.0;
/// mT: delay that nobody notices, ms (G.107 §7.4, default).
const NOTICED_MS: f64 = 100.0;
/// 6·sT with sT = 1 (G.107 §7.4, default).
const SENSITIVITY: f64 = 6.0;

/// How a call sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rating {
    /// R, hundredths; not below 0.
    pub(crate) r_centi: u64,
    /// MOS-CQE, hundredths: 100 to 450.
    pub(crate) mos_centi: u64,
}

/// What is rated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Heard {
    /// Share of packets that were not played.
    pub(crate) lost: f64,
    /// `BurstR`: how much longer losses last than chance would make them; 1 when it is chance.
    pub(crate) burst: f64,
    /// Ta: from mouth to ear, ms.
    pub(crate) delay_ms: f64,
}

impl Heard {
    /// What a listener behind a buffer of [`JITTER_BUFFER`] hears. One way is half the round trip; 0 where that is not
    /// known.
    pub(crate) fn of(reception: &Reception, rtt_ns: Option<u64>) -> Option<Self> {
        let missing = reception.expected - reception.received + reception.late;
        if reception.expected == 0 {
            return None;
        }
        let lost = missing as f64 / reception.expected as f64;
        // By chance, a run is 1/(1 − lost) packets long (G.107 §7.5).
        let run = missing as f64 / reception.loss_runs.max(1) as f64;
        let network_ns = rtt_ns.unwrap_or(0) / 2;
        let delay_ns = network_ns.saturating_add(PACKET_NS + saturating_ns(JITTER_BUFFER));
        Some(Self { lost, burst: (run * (1.0 - lost)).max(1.0), delay_ms: delay_ns as f64 / 1e6 })
    }

    /// The rating, rounded once, to the nearest hundredth.
    pub(crate) fn rating(&self) -> Rating {
        let r = R_DEFAULT - delay_impairment(self.delay_ms) - self.loss_impairment(BPL);
        Rating { r_centi: centi(r), mos_centi: centi(mos(r)) }
    }

    /// Ie,eff (G.107 §7.5), where Ppl is in per cent.
    fn loss_impairment(&self, bpl: f64) -> f64 {
        let ppl = self.lost * 100.0;
        IE + (IE_MAX - IE) * ppl / (ppl / self.burst + bpl)
    }
}

/// Idd (G.107 §7.4): what delay alone costs, without echo.
fn delay_impairment(ms: f64) -> f64 {
    if ms <= NOTICED_MS {
        return 0.0;
    }
    let x = (ms / NOTICED_MS).log2();
    let root = |value: f64| (1.0 + value.powf(SENSITIVITY)).powf(1.0 / SENSITIVITY);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// MOS-CQE of R (G.107 annex B). Its cubic dips below 1 for R under 6.5, which no mean of opinions can.
fn mos(r: f64) -> f64 {
    if r <= 0.0 {
        1.0
    } else if r >= 100.0 {
        4.5
    } else {
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
    }
}

/// Hundredths, to the nearest; nothing below 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 and 10000")]
fn centi(value: f64) -> u64 {
    (value.clamp(0.0, 100.0) * 100.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heard(lost: f64, delay_ms: f64) -> Heard {
        Heard { lost, burst: 1.0, delay_ms }
    }

    #[test]
    fn a_perfect_call_is_rated_as_g_107_has_it() {
        assert_eq!(heard(0.0, 80.0).rating(), Rating { r_centi: 9_320, mos_centi: 441 });
    }

    #[test]
    fn loss_costs_what_g_113_says() {
        for (lost, bpl, mos_centi) in
            [(0.01, BPL, 433), (0.03, BPL, 413), (0.01, 4.3, 383), (0.03, 4.3, 279)]
        {
            let r = R_DEFAULT - heard(lost, 70.0).loss_impairment(bpl);
            assert_eq!(centi(mos(r)), mos_centi, "{lost} at Bpl {bpl}");
        }
        assert_eq!(heard(0.01, 70.0).rating().mos_centi, 433);
        // Twice as long as chance would make them: 95·10/(5 + 25.1) in place of 95·10/35.1.
        let bursts = Heard { burst: 2.0, ..heard(0.1, 70.0) };
        assert_eq!(bursts.rating().r_centi, 9_320 - 3_156);
        assert_eq!(heard(0.1, 70.0).rating().r_centi, 9_320 - 2_707);
    }

    #[test]
    fn delay_costs_what_idd_says() {
        for (ms, cost) in
            [(0.0, "0.0"), (100.0, "0.0"), (150.0, "0.2"), (200.0, "3.0"), (400.0, "24.1")]
        {
            assert_eq!(format!("{:.1}", delay_impairment(ms)), cost, "{ms} ms");
        }
        assert_eq!(centi(delay_impairment(150.0)), 16);
    }

    #[test]
    fn what_is_heard_is_what_was_played_in_time() {
        let reception = Reception {
            expected: 100,
            received: 96,
            late: 6,
            loss_runs: 2,
            ..Reception::default()
        };
        let heard = Heard::of(&reception, Some(100_000_000)).expect("something came");
        assert_eq!(heard, Heard { lost: 0.1, burst: 4.5, delay_ms: 130.0 });
        let unknown = Heard::of(&reception, None).expect("something came");
        assert_eq!(centi(unknown.delay_ms), 8_000);
        assert_eq!(Heard::of(&Reception::default(), None), None);
        // All that came was late.
        let nothing = Reception { received: 1, expected: 1, late: 1, loss_runs: 1, ..reception };
        let rating = Heard::of(&nothing, None).map(|heard| heard.rating());
        assert_eq!(rating.map(|rating| rating.mos_centi), Some(118));
    }

    proptest! {
        #[test]
        fn more_loss_and_more_delay_never_sound_better(
            lost in (0.0..=1.0_f64, 0.0..=1.0_f64),
            delay_ms in (0.0..=100_000.0_f64, 0.0..=100_000.0_f64),
            burst in 1.0..50.0_f64,
        ) {
            let of = |lost, delay_ms| Heard { lost, burst, delay_ms }.rating();
            let worse = of(lost.0.max(lost.1), delay_ms.0.max(delay_ms.1));
            let better = of(lost.0.min(lost.1), delay_ms.0.min(delay_ms.1));
            prop_assert!(worse.r_centi <= better.r_centi);
            prop_assert!(worse.mos_centi <= better.mos_centi);
            prop_assert!((100..=450).contains(&worse.mos_centi) && better.r_centi <= 9_320);
        }
    }
}
