//! Everything beside the objectives: who, when, what for, and how credits combine.

use super::Read;
use super::calendar::calendars;
use super::scalar::{amount, count, flag, moment, period, share_above_zero, words};
use crate::contract::model::{
    Approval, Claim, CloseRules, Combine, CreditRules, Kind, Level, Maintenance, Parties, Party,
    Responsibility, Service, Terms,
};
use crate::contract::money::{Currency, Rounding};
use crate::contract::period::{PeriodKind, Span};
use jiff::tz::TimeZone;
use probefleet_proto::name::Name;
use probefleet_proto::yaml::{Map, Node, Problems, Value, list, scalar};

/// Late reports are taken for three days when nothing is agreed.
const GRACE_DEFAULT_S: u64 = 72 * 3_600;
/// Objections are taken for thirty days when nothing is agreed.
const DISPUTE_DEFAULT_S: u64 = 30 * 86_400;

/// What an agreement may be.
pub(in crate::contract) const KINDS: &[(&str, Kind)] =
    &[("sla", Kind::Sla), ("ola", Kind::Ola), ("underpinning", Kind::Underpinning)];
/// For whom it may hold.
pub(in crate::contract) const LEVELS: &[(&str, Level)] =
    &[("corporate", Level::Corporate), ("customer", Level::Customer), ("service", Level::Service)];

/// What is read before amounts and dates can be.
struct Frame {
    zone: (String, TimeZone),
    currency: Currency,
    period: PeriodKind,
}

/// Reads all keys of an agreement but its objectives.
pub(super) fn terms(
    map: &mut Map<'_>,
    parent: Option<&Read>,
    problems: &mut Problems,
) -> Option<(Terms, TimeZone)> {
    let id = map.required("agreement", problems, Node::name);
    let version = map.required("version", problems, count);
    let kind = map.required("kind", problems, |node, problems| node.choice(problems, KINDS));
    let level = map.required("level", problems, |node, problems| node.choice(problems, LEVELS));
    let title = map.required("title", problems, words);
    let overview = map.optional("overview", None, problems, |node, p| words(node, p).map(Some));
    let not_included =
        map.optional("not_included", Vec::new(), problems, |node, p| list(node, p, words));
    let parties = map.required("parties", problems, parties);
    let responsibilities = map.optional("responsibilities", Vec::new(), problems, |node, p| {
        list(node, p, responsibility)
    });
    let frame = frame(map, problems);
    if let (Some(frame), Some(parent)) = (&frame, parent) {
        same_frame(map, frame, parent, problems);
    }
    let term = map.required("term", problems, |node, p| term(node, frame.as_ref(), p));
    let services = map.required("services", problems, |node, p| services(node, frame.as_ref(), p));
    let calendars = map.optional("calendars", Vec::new(), problems, calendars);
    let maintenance =
        map.optional("maintenance", None, problems, |node, p| maintenance(node, p).map(Some));
    let credits = map.optional("credits", CreditRules::default(), problems, |n, p| {
        credits(n, frame.as_ref(), p)
    });
    let defaults = CloseRules { grace_s: GRACE_DEFAULT_S, dispute_s: DISPUTE_DEFAULT_S };
    let close = map.optional("close", defaults, problems, close);
    let Frame { zone: (time_zone, zone), currency, period } = frame?;
    let terms = Terms {
        id: id?,
        version: version?,
        kind: kind?,
        level: level?,
        title: title?,
        overview: overview?,
        not_included: not_included?,
        parties: parties?,
        responsibilities: responsibilities?,
        time_zone,
        currency,
        term: term?,
        period,
        calendars: calendars?,
        maintenance: maintenance?,
        services: with_inherited(services?, parent),
        credits: credits?,
        termination: Vec::new(),
        close: close?,
    };
    Some((terms, zone))
}

/// Files beside those of the zone database, which mean another time on every machine.
const OF_THE_MACHINE: [&str; 2] = ["localtime", "posixrules"];

fn frame(map: &mut Map<'_>, problems: &mut Problems) -> Option<Frame> {
    let zone = map.required("time_zone", problems, |node, problems| {
        scalar(node, problems, "unknown-zone", |text| match TimeZone::get(text) {
            Ok(zone) if !OF_THE_MACHINE.contains(&text) => Ok((text.to_owned(), zone)),
            _ => Err("write a name of the IANA zone database, such as Europe/Berlin"),
        })
    });
    let currency = map.required("currency", problems, |node, problems| {
        scalar(node, problems, "bad-value", |text| {
            Currency::parse(text).ok_or("write a code of ISO 4217, such as EUR")
        })
    });
    let period = map.required("period", problems, period);
    Some(Frame { zone: zone?, currency: currency?, period: period? })
}

/// Dates and amounts of an agreement mean what they mean in its parent.
fn same_frame(map: &mut Map<'_>, frame: &Frame, parent: &Read, problems: &mut Problems) {
    let terms = &parent.terms;
    let (zone, currency) = (terms.time_zone.as_str(), terms.currency.code());
    for (key, own, of_parent) in
        [("time_zone", frame.zone.0.as_str(), zone), ("currency", frame.currency.code(), currency)]
    {
        if own != of_parent {
            let at = map.get(key).map_or(map.at(), |node| node.at);
            let message = format!("the parent's {key} is {of_parent}");
            let cure = format!("write {of_parent}: objectives are inherited from it");
            problems.report::<()>(at, "bad-value", message, cure);
        }
    }
}

/// The services of an agreement, and those of its parent that it does not name itself.
fn with_inherited(mut services: Vec<Service>, parent: Option<&Read>) -> Vec<Service> {
    for service in parent.into_iter().flat_map(|parent| &parent.terms.services) {
        if !services.iter().any(|own| own.name == service.name) {
            services.push(service.clone());
        }
    }
    services
}

fn parties(node: &Node, problems: &mut Problems) -> Option<Parties> {
    let mut map = Map::open(node, "the parties", problems)?;
    let provider = map.required("provider", problems, party);
    let customer = map.optional("customer", None, problems, |node, p| party(node, p).map(Some));
    let auditors = map.optional("auditors", Vec::new(), problems, |node, p| list(node, p, party));
    map.finish(problems);
    Some(Parties { provider: provider?, customer: customer?, auditors: auditors? })
}

fn party(node: &Node, problems: &mut Problems) -> Option<Party> {
    let mut map = Map::open(node, "a party", problems)?;
    let name = map.required("name", problems, words);
    let contact = map.optional("contact", None, problems, |node, p| words(node, p).map(Some));
    map.finish(problems);
    Some(Party { name: name?, contact: contact? })
}

fn responsibility(node: &Node, problems: &mut Problems) -> Option<Responsibility> {
    let mut map = Map::open(node, "a responsibility", problems)?;
    let party = map.required("party", problems, words);
    let text = map.required("text", problems, words);
    map.finish(problems);
    Some(Responsibility { party: party?, text: text? })
}

fn term(node: &Node, frame: Option<&Frame>, problems: &mut Problems) -> Option<Span> {
    let mut map = Map::open(node, "the term", problems)?;
    // Dates mean nothing without a zone, whose own problem was reported.
    let zone = frame.map_or(TimeZone::UTC, |frame| frame.zone.1.clone());
    let from_s = map.required("from", problems, |node, problems| moment(node, &zone, problems));
    let until_s = map.required("until", problems, |node, problems| moment(node, &zone, problems));
    map.finish(problems);
    stretch(node, from_s?, until_s?, problems)
}

/// A stretch that must not be empty.
fn stretch(node: &Node, from_s: i64, until_s: i64, problems: &mut Problems) -> Option<Span> {
    if until_s <= from_s {
        let cure =
            "its end must be later than its beginning; the end itself no longer belongs to it";
        return problems.report(node.at, "term-empty", "no time lies in it", cure);
    }
    Some(Span { from_s, until_s })
}

fn services(node: &Node, frame: Option<&Frame>, problems: &mut Problems) -> Option<Vec<Service>> {
    let map = Map::open(node, "the services", problems)?;
    let (mut services, mut total) = (Vec::new(), 0);
    for (key, at, node) in map.entries() {
        total += 1;
        match Name::new(key) {
            Ok(name) => services.extend(service(name, node, frame, problems)),
            Err(_) => {
                problems.report::<()>(at, "bad-name", format!("`{key}`"), NAME_CURE);
            }
        }
    }
    if total == 0 {
        let cure = "name what is delivered, as in `voice: {title: …}`";
        return problems.report(node.at, "missing-key", "no service", cure);
    }
    (services.len() == total).then_some(services)
}

/// What a key that is a name looks like.
pub(super) const NAME_CURE: &str = "a name is 1 to 63 of a-z, 0-9 and -, and does not begin with -";

fn service(
    name: Name,
    node: &Node,
    frame: Option<&Frame>,
    problems: &mut Problems,
) -> Option<Service> {
    let mut map = Map::open(node, "a service", problems)?;
    let zone = frame.map_or(TimeZone::UTC, |frame| frame.zone.1.clone());
    let title = map.optional("title", name.to_string(), problems, words);
    let currency = frame.map(|frame| &frame.currency);
    let charge = map.optional("monthly_charge", None, problems, |node, problems| {
        amount(node, currency, problems).map(Some)
    });
    let always = Span::ALWAYS;
    let from_s = map.optional("active_from", always.from_s, problems, |n, p| moment(n, &zone, p));
    let until_s =
        map.optional("active_until", always.until_s, problems, |n, p| moment(n, &zone, p));
    map.finish(problems);
    let active = stretch(node, from_s?, until_s?, problems);
    Some(Service { name, title: title?, monthly_charge: charge?, active: active? })
}

/// Who may grant maintenance.
pub(in crate::contract) const APPROVAL: &[(&str, Approval)] =
    &[("automatic", Approval::Automatic), ("customer", Approval::Customer)];

fn maintenance(node: &Node, problems: &mut Problems) -> Option<Maintenance> {
    let mut map = Map::open(node, "the maintenance", problems)?;
    let notice_s = map.required("notice", problems, Node::duration_s);
    let at_most_s = map.required("at_most", problems, Node::duration_s);
    let approval = map.required("approval", problems, |node, p| node.choice(p, APPROVAL));
    map.finish(problems);
    Some(Maintenance { notice_s: notice_s?, at_most_s: at_most_s?, approval: approval? })
}

/// How the credits of a period may be combined.
pub(in crate::contract) const COMBINE: &[(&str, Combine)] =
    &[("sum", Combine::Sum), ("max", Combine::Max)];
/// How a credit may become whole minor units.
pub(in crate::contract) const ROUNDING: &[(&str, Rounding)] =
    &[("half_away_from_zero", Rounding::HalfAwayFromZero), ("half_even", Rounding::HalfEven)];

fn credits(node: &Node, frame: Option<&Frame>, problems: &mut Problems) -> Option<CreditRules> {
    let mut map = Map::open(node, "the credits", problems)?;
    let default = CreditRules::default();
    let combine =
        map.optional("combine", default.combine, problems, |node, p| node.choice(p, COMBINE));
    let cap = map.optional("cap", None, problems, |node, p| share_above_zero(node, p).map(Some));
    let priority =
        map.optional("priority", Vec::new(), problems, |node, p| list(node, p, Node::name));
    let rounding =
        map.optional("rounding", default.rounding, problems, |node, p| node.choice(p, ROUNDING));
    let currency = frame.map(|frame| &frame.currency);
    let minimum =
        map.optional("minimum", None, problems, |node, p| amount(node, currency, p).map(Some));
    let sole_remedy = map.optional("sole_remedy", false, problems, flag);
    let claim = map.optional("claim", default.claim, problems, claim);
    map.finish(problems);
    Some(CreditRules {
        combine: combine?,
        cap: cap?,
        priority: priority?,
        rounding: rounding?,
        minimum: minimum?,
        sole_remedy: sole_remedy?,
        claim: claim?,
    })
}

/// Claims that are one word.
pub(in crate::contract) const CLAIM: &[(&str, Claim)] = &[("automatic", Claim::Automatic)];
/// What the time of a claim may run from.
pub(in crate::contract) const CLAIM_FROM: &[(&str, ())] = &[("period_end", ())];

fn claim(node: &Node, problems: &mut Problems) -> Option<Claim> {
    if matches!(node.value, Value::Scalar { .. }) {
        return node.choice(problems, CLAIM);
    }
    let mut map = Map::open(node, "the claim", problems)?;
    let within_s = map.required("within", problems, Node::duration_s);
    let from = map.required("from", problems, |node, p| node.choice(p, CLAIM_FROM));
    map.finish(problems);
    from?;
    Some(Claim::WithinS(within_s?))
}

fn close(node: &Node, problems: &mut Problems) -> Option<CloseRules> {
    let mut map = Map::open(node, "the close", problems)?;
    let grace_s = map.optional("grace", GRACE_DEFAULT_S, problems, Node::duration_s);
    let dispute_s = map.optional("dispute", DISPUTE_DEFAULT_S, problems, Node::duration_s);
    map.finish(problems);
    Some(CloseRules { grace_s: grace_s?, dispute_s: dispute_s? })
}
