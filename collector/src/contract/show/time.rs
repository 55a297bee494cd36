//! Service hours and excluded time.

use super::Section;
use super::lineage::{Lineage, Origin};
use super::words::{all_of, date, seconds};
use crate::contract::Agreement;
use crate::contract::calendar::{Calendar, DAY_MINUTES};
use crate::contract::model::{Approval, Maintenance, Objective, Terms};
use jiff::civil::Weekday;

/// The days from Monday on, as they are said.
const DAYS: [(Weekday, &str); 7] = [
    (Weekday::Monday, "Monday"),
    (Weekday::Tuesday, "Tuesday"),
    (Weekday::Wednesday, "Wednesday"),
    (Weekday::Thursday, "Thursday"),
    (Weekday::Friday, "Friday"),
    (Weekday::Saturday, "Saturday"),
    (Weekday::Sunday, "Sunday"),
];

/// Clock times of a day, in minutes after its midnight.
type Stretches = Vec<(u16, u16)>;

/// The calendars of the agreement, and those of others that inherited promises keep to.
pub(super) fn hours(agreement: &Agreement, lineage: &Lineage) -> Section {
    let mut section = Section::new("hours", "Service hours");
    let own = agreement.terms().calendars.iter().map(|calendar| calendar.as_ref());
    let mut said: Vec<(String, &Calendar)> =
        own.map(|calendar| (calendar.name.to_string(), calendar)).collect();
    for objective in agreement.objectives() {
        let Some(calendar) = objective.hours.as_deref() else { continue };
        let name = calendar_name(agreement, objective, lineage).unwrap_or_default();
        if !said.contains(&(name.clone(), calendar)) {
            said.push((name, calendar));
        }
    }
    for (name, calendar) in &said {
        section.list(format!("The service hours {name} are:"), week(calendar));
        if !calendar.holidays.is_empty() {
            let holidays: Vec<String> = calendar.holidays.iter().map(|day| date(*day)).collect();
            section.say(format!("No service hours {name} begin on {}.", all_of(&holidays)));
        }
    }
    if !said.is_empty() {
        section.say(
            "Service hours belong to the date on which they begin. A clock time that does not exist, because clocks go \
             forward, moves forward by the gap; one that exists twice is the earlier. Time outside service hours is \
             taken out before windows are counted.",
        );
    }
    section
}

/// The name of a promise's service hours; of those that stand in another agreement, with that one's.
pub(super) fn calendar_name(
    agreement: &Agreement,
    objective: &Objective,
    lineage: &Lineage,
) -> Option<String> {
    let calendar = objective.hours.as_deref()?;
    if agreement.terms().calendars.iter().any(|own| own.as_ref() == calendar) {
        return Some(calendar.name.to_string());
    }
    Some(match lineage.origin(objective.name.as_str()) {
        Origin::Inherited(from) => format!("{} (of {from})", calendar.name),
        Origin::Own | Origin::Replaces(_) => calendar.name.to_string(),
    })
}

/// The week, days with the same hours together.
fn week(calendar: &Calendar) -> Vec<String> {
    let stretches = |day: Weekday| {
        let mut hours: Stretches = calendar
            .weekly
            .iter()
            .filter(|hours| hours.weekday == day)
            .map(|hours| (hours.from, hours.until))
            .collect();
        hours.sort_unstable();
        hours.dedup();
        hours
    };
    let mut lines: Vec<(usize, usize, Stretches)> = Vec::new();
    for (place, (day, _)) in DAYS.iter().enumerate() {
        let hours = stretches(*day);
        match lines.last_mut() {
            Some((_, last, before)) if *before == hours => *last = place,
            Some(_) | None => lines.push((place, place, hours)),
        }
    }
    lines.retain(|(_, _, hours)| !hours.is_empty());
    lines.iter().map(|(first, last, hours)| line((*first, *last), hours)).collect()
}

fn line((first, last): (usize, usize), hours: &[(u16, u16)]) -> String {
    let day = |place: usize| DAYS.get(place).map_or("", |(_, name)| name);
    let between = if last - first > 1 { "to" } else { "and" };
    let days = if first == last {
        day(first).to_owned()
    } else {
        format!("{} {between} {}", day(first), day(last))
    };
    let stretches: Vec<String> = hours.iter().map(|hours| stretch(*hours)).collect();
    format!("{days}, {}", all_of(&stretches))
}

fn stretch((from, until): (u16, u16)) -> String {
    let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    if until > DAY_MINUTES {
        return format!("{} to {} of the next day", clock(from), clock(until - DAY_MINUTES));
    }
    format!("{} to {}", clock(from), clock(until))
}

/// What time is excluded, by which notice and approval.
pub(super) fn excluded(terms: &Terms) -> Section {
    let mut section = Section::new("exclusions", "Eligible and excluded time");
    section.say(
        "Eligible time is what of a period lies in the term, in the service hours of the promise and in the time in which \
         its service is in use, and is not excluded.",
    );
    section.say(match terms.maintenance {
        None => "Maintenance is not excluded.".to_owned(),
        Some(Maintenance { notice_s, at_most_s, approval }) => {
            let (notice, at_most) = (seconds(notice_s), seconds(at_most_s));
            let approved = match approval {
                Approval::Automatic => "; no approval is needed",
                Approval::Customer => " and the customer has approved it",
            };
            format!(
                "Maintenance is excluded where it was announced at least {notice} before it begins{approved}. In one \
                 period at most {at_most} of the time for which a promise holds are excluded so, in the order of time; \
                 the rest counts like any other time."
            )
        }
    });
    section.say(
        "Emergency maintenance, time for which the customer is answerable and force majeure are excluded where they were \
         approved.",
    );
    section
}
