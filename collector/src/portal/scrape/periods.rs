//! What became of the last closed period of each kind, and whether the records of excluded time can be read.
//!
//! A period is told by its kind and by when it ended, not by its label: a label would be a new series for every day. The
//! stage is one series for each, of which exactly one is 1. Before anything was published, there is a stage only.

use super::number_of;
use crate::contract::money::Currency;
use crate::evaluator::{AgreementNow, PeriodNow, Snapshot};
use crate::sla::life::Stage;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAgreement {
    agreement: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPeriod {
    agreement: String,
    period: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStage {
    agreement: String,
    period: &'static str,
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CreditOfPeriod {
    agreement: String,
    period: &'static str,
    currency: String,
}

/// By name of the metric.
#[derive(Default)]
struct Periods {
    ended: Family<OfPeriod, Gauge>,
    stage: Family<OfStage, Gauge>,
    revisions: Family<OfPeriod, Gauge>,
    credit: Family<CreditOfPeriod, Gauge<f64, AtomicU64>>,
    exclusions_ok: Family<OfAgreement, Gauge>,
}

pub(super) fn register(snapshot: &Snapshot, registry: &mut Registry) {
    let periods = Periods::default();
    for now in &snapshot.agreements {
        let of = OfAgreement { agreement: now.agreement.id().to_string() };
        periods.exclusions_ok.get_or_create(&of).set(i64::from(now.complaint.is_none()));
        now.periods.iter().filter(|it| !it.open).for_each(|it| periods.add(now, it));
    }
    periods.register(registry);
}

impl Periods {
    fn add(&self, now: &AgreementNow, closed: &PeriodNow) {
        let (agreement, period) = (now.agreement.id().to_string(), closed.label.kind().as_str());
        let of = OfPeriod { agreement: agreement.clone(), period };
        if let Ok(span) = closed.label.span(now.agreement.zone()) {
            self.ended.get_or_create(&of).set(span.until_s);
        }
        for stage in Stage::CLOSED_WORDS {
            let of = OfStage { agreement: agreement.clone(), period, stage };
            let is_it = stage == closed.life.stage.as_str();
            self.stage.get_or_create(&of).set(i64::from(is_it));
        }
        let Some(latest) = closed.life.revisions.last() else { return };
        self.revisions.get_or_create(&of).set(number_of(latest.number));
        // What was published before the currency was another one is in that one.
        let currency = Currency::parse(&latest.currency);
        let payable = currency.and_then(|currency| {
            let payable = currency.amount(&latest.payable).ok()?;
            Some(super::money(&payable, &currency))
        });
        if let Some(payable) = payable {
            let of = CreditOfPeriod { agreement, period, currency: latest.currency.clone() };
            self.credit.get_or_create(&of).set(payable);
        }
    }

    fn register(self, registry: &mut Registry) {
        registry.register(
            "probefleet_agreement_period_end_timestamp_seconds",
            "When the last closed period of that kind ended, Unix seconds",
            self.ended,
        );
        registry.register(
            "probefleet_agreement_period_stage",
            "1 for the stage that the last closed period of that kind has, 0 for the others",
            self.stage,
        );
        registry.register(
            "probefleet_agreement_period_revisions",
            "How many results were published of the last closed period of that kind; more than one: it was restated",
            self.revisions,
        );
        registry.register(
            "probefleet_agreement_period_credit",
            "Payable for the last closed period of that kind, as published last",
            self.credit,
        );
        registry.register(
            "probefleet_agreement_exclusions_ok",
            "0 while the file of excluded time has a problem, and the last good one is used instead",
            self.exclusions_ok,
        );
    }
}
