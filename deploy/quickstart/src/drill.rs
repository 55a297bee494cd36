//! A drill (`--break`): half a minute after the fleet is ready one of its services becomes slow, then it is gone. What
//! happens to it is real: its process is frozen again and again, or its table grows by millions of rows; then it ends.

use crate::children::Part;
use crate::start::{DATABASE, HOME_PAGE, HOTLINE};
use anyhow::Context as _;
use rustix::process::Signal;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// What can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Service {
    /// The home page
    Http,
    /// The telephone hotline
    Sip,
    /// The monthly report
    Sql,
}

/// Long enough to see what normal is like.
const SLOW_AFTER: Duration = Duration::from_secs(30);
/// Long enough for each agent to see it slow twice.
const GONE_AFTER: Duration = Duration::from_secs(42);
/// A process that is frozen for so long, and then runs for a moment, answers after half a second on average: too late
/// for the agreement, but within the probes' timeouts.
const FROZEN: Duration = Duration::from_millis(900);
const THAWED: Duration = Duration::from_millis(50);

/// Something that is done to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Its process stops where it is.
    Freeze,
    /// Its process goes on.
    Thaw,
    /// Its table grows.
    Burden,
    /// It ends.
    End,
}

/// What is still to be done, and when.
#[derive(Debug)]
pub(crate) struct Drill {
    part: &'static str,
    ready: Instant,
    acts: VecDeque<(Duration, Act)>,
    told: bool,
}

impl Drill {
    /// The drill of that service, or none: for a fleet that became ready at that instant.
    pub(crate) fn new(service: Option<Service>, ready: Instant) -> Self {
        let (part, acts) = match service {
            None => ("", VecDeque::new()),
            Some(Service::Http) => (HOME_PAGE, freezing()),
            Some(Service::Sip) => (HOTLINE, freezing()),
            Some(Service::Sql) => (DATABASE, [(SLOW_AFTER, Act::Burden)].into()),
        };
        let mut drill = Self { part, ready, acts, told: false };
        if service.is_some() {
            drill.acts.push_back((GONE_AFTER, Act::End));
        }
        drill
    }

    /// What is to be done now; never comes when nothing is left. May be dropped and asked again.
    pub(crate) async fn next(&mut self) -> Act {
        let Some((after, act)) = self.acts.front().copied() else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(self.ready + after).await;
        self.acts.pop_front();
        act
    }

    /// Does it. Gives what is to be said of it, if anything.
    pub(crate) async fn perform(
        &mut self,
        act: Act,
        parts: &mut Vec<Part>,
    ) -> anyhow::Result<Option<String>> {
        let index = parts.iter().position(|part| part.name == self.part);
        let index = index.with_context(|| format!("{} does not run", self.part))?;
        match act {
            Act::Freeze => parts[index].signal(Signal::STOP),
            Act::Thaw => parts[index].signal(Signal::CONT),
            Act::Burden => parts[index].signal(Signal::USR1),
            Act::End => {
                let mut part = parts.remove(index);
                part.ask_to_end();
                part.end_by(Instant::now() + Duration::from_secs(1)).await;
                return Ok(Some(format!("Drill: {} is gone.", self.part)));
            }
        }
        let slow = format!("Drill: {} becomes slow.", self.part);
        Ok((!std::mem::replace(&mut self.told, true)).then_some(slow))
    }
}

fn freezing() -> VecDeque<(Duration, Act)> {
    let mut acts = VecDeque::new();
    let mut at = SLOW_AFTER;
    while at + FROZEN + THAWED <= GONE_AFTER {
        acts.push_back((at, Act::Freeze));
        acts.push_back((at + FROZEN, Act::Thaw));
        at += FROZEN + THAWED;
    }
    acts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_frozen_is_thawed_before_it_ends() {
        for service in [Service::Http, Service::Sip, Service::Sql] {
            let drill = Drill::new(Some(service), Instant::now());
            let (times, acts): (Vec<_>, Vec<_>) = drill.acts.into_iter().unzip();
            assert!(times.is_sorted() && times[0] == SLOW_AFTER);
            assert_eq!(acts.last(), Some(&Act::End));
            let count = |wanted| acts.iter().filter(|act| **act == wanted).count();
            assert_eq!(count(Act::Freeze), count(Act::Thaw));
            assert_ne!(acts[acts.len() - 2], Act::Freeze);
        }
    }

    #[test]
    fn without_a_drill_nothing_happens() {
        assert!(Drill::new(None, Instant::now()).acts.is_empty());
    }
}
