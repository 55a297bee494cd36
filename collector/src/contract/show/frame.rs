//! Who promises whom, what about, from when until when, and what it costs.

use super::Section;
use super::lineage::Lineage;
use super::words::{all_of, each_period, instant, money, plain, seconds, sentence};
use crate::contract::Agreement;
use crate::contract::model::{CloseRules, Kind, Level, Party, Service, Terms};
use crate::contract::period::Span;
use jiff::tz::TimeZone;

/// Who agreed, to what sort of agreement.
pub(super) fn parties(terms: &Terms, lineage: &Lineage) -> Section {
    let mut section = Section::new("parties", "Parties");
    let provider = with_contact(&terms.parties.provider);
    section.say(match &terms.parties.customer {
        Some(customer) => format!(
            "{provider} is the provider, {} the customer. The provider promises the customer what follows.",
            with_contact(customer)
        ),
        None => format!(
            "{provider} is the provider and promises what follows. No customer is named."
        ),
    });
    section.say(format!(
        "This is agreement {}, version {}: {}",
        terms.id,
        terms.version,
        effect(terms.kind)
    ));
    section.say(match terms.level {
        Level::Corporate => "It holds for every customer.",
        Level::Customer => "It holds for all services of one customer.",
        Level::Service => "It holds for one service.",
    });
    if let Some(parent) = lineage.parent() {
        section.say(format!(
            "It inherits the promises of {parent}, except where it says otherwise. Nothing else is inherited but the \
             services that those promises are about."
        ));
    }
    let auditors: Vec<String> = terms.parties.auditors.iter().map(with_contact).collect();
    if !auditors.is_empty() {
        section.say(format!("The evidence may be inspected by {}.", all_of(&auditors)));
    }
    section
}

/// What a breach does under an agreement of that sort.
fn effect(kind: Kind) -> &'static str {
    match kind {
        Kind::Sla => {
            "a service level agreement. Where it is countersigned, a breach gives the customer the credits and the right \
             to terminate that are named below; where it is not, it gives neither."
        }
        Kind::Ola => {
            "an operational level agreement, between parts of one house. A breach gives no credit and no right to \
             terminate, whatever is named below."
        }
        Kind::Underpinning => {
            "an underpinning contract, in which the provider is the customer's supplier. Where it is countersigned, a \
             breach gives the customer the credits and the right to terminate that are named below; where it is not, it \
             gives neither."
        }
    }
}

fn with_contact(party: &Party) -> String {
    match &party.contact {
        Some(contact) => format!("{} (contact: {})", plain(&party.name), plain(contact)),
        None => plain(&party.name),
    }
}

/// What it is about, and who must do what.
pub(super) fn scope(terms: &Terms) -> Section {
    let mut section = Section::new("scope", "Subject and duties");
    if let Some(overview) = &terms.overview {
        section.say(sentence(overview));
    }
    let listed = |texts: &[String]| texts.iter().map(|text| plain(text)).collect();
    if !terms.not_included.is_empty() {
        section.list("Not included are:", listed(&terms.not_included));
    }
    if !terms.responsibilities.is_empty() {
        let duty = |party: &str, text: &str| format!("{}: {}", plain(party), plain(text));
        let duties =
            terms.responsibilities.iter().map(|duty_of| duty(&duty_of.party, &duty_of.text));
        section.list("Each party has these duties:", duties.collect());
    }
    section
}

/// From when until when, by which clock.
pub(super) fn term(agreement: &Agreement) -> Section {
    let (terms, zone) = (agreement.terms(), agreement.zone());
    let mut section = Section::new("term", "Term, clock and periods");
    section.say(format!(
        "The agreement holds from {} until {}; that instant itself no longer belongs to it.",
        instant(terms.term.from_s, zone),
        instant(terms.term.until_s, zone)
    ));
    section.say(format!(
        "Every date and clock time is in the time zone {}, with its changes of the clock. As a length of time, a day is \
         24 hours.",
        terms.time_zone
    ));
    section.say(format!(
        "Unless a promise says otherwise, it is judged for {}, with its real length. In a period that begins before the \
         term or ends after it, only what lies in the term counts.",
        each_period(terms.period)
    ));
    section
}

/// What is delivered, and at which price.
pub(super) fn services(agreement: &Agreement) -> Section {
    let terms = agreement.terms();
    let mut section = Section::new("services", "Services and charges");
    let service = |service: &Service| {
        let charge = service.monthly_charge.as_ref();
        let charge = match charge {
            Some(charge) => format!("{} a month", money(charge, &terms.currency)),
            None => "without a charge".to_owned(),
        };
        let active = active(service.active, agreement.zone());
        format!("{}, {charge}{active}", titled(service))
    };
    section.list(
        format!("The services are, with charges in {}:", terms.currency.code()),
        terms.services.iter().map(service).collect(),
    );
    section
}

/// `Hosted voice (voice)`.
pub(super) fn titled(service: &Service) -> String {
    let title = plain(&service.title);
    if title == service.name.as_str() { title } else { format!("{title} ({})", service.name) }
}

fn active(span: Span, zone: &TimeZone) -> String {
    let always = Span::ALWAYS;
    let from =
        (span.from_s != always.from_s).then(|| format!("from {}", instant(span.from_s, zone)));
    let until =
        (span.until_s != always.until_s).then(|| format!("until {}", instant(span.until_s, zone)));
    let ends: Vec<String> = from.into_iter().chain(until).collect();
    if ends.is_empty() { String::new() } else { format!(", in use {}", ends.join(" ")) }
}

/// The promises of others that do not hold here.
pub(super) fn removed(lineage: &Lineage) -> Section {
    let mut section = Section::new("removed", "Promises that do not hold here");
    for (name, from) in lineage.removed() {
        section.say(format!("The promise {name} of {from}, does not hold under this agreement."));
    }
    section
}

/// How long a period stays open.
pub(super) fn close(terms: &Terms) -> Section {
    let CloseRules { grace_s, dispute_s } = terms.close;
    let mut section = Section::new("close", "Close of a period");
    section.say(format!(
        "Late reports are taken until {} after the end of a period; then its result is published, and objections are \
         taken for {}.",
        seconds(grace_s),
        seconds(dispute_s)
    ));
    section
}
