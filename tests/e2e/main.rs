//! Suites against real processes on loopback.

/// Every attempt is accounted for, whoever is killed when: against the schedule recomputed from the plan alone.
mod accounting;
/// Agreements judged through the command line, against figures that were worked out by hand.
mod agreements;
/// Broken files, wicked files, files of others: refused with their line, and nothing changed.
mod bad_input;
/// What the bench prints, and that programs can read it.
mod bench;
/// A way to the collector that swallows everything: noticed at both ends.
mod broken_uplink;
/// What the programs' help and the README tell people to type, typed.
mod commands;
/// Disks that are full, that fail, that can only be read, and power that goes: nothing is lost, and it is said.
mod disk;
/// Signatures from the agent's spool to `verify`: whatever is done to the store shows, and another key is refused.
mod evidence;
/// Agents that mean harm and strangers, before a real collector: refused, bounded, and nobody else notices.
mod hostile_ingest;
/// Calls through Kamailio: digest, recorded routes, forks, redirections, TCP and TLS.
mod kamailio;
/// A thousand probes every second from one core.
mod load;
/// What is said to the responder, by callers nobody here wrote too, and that nobody else hears of it.
mod media;
/// A week without a collector, and what comes after it.
mod outage;
/// The outcome table, row by row, as the real program meets it: hostile targets and a broken network of its own.
mod outcomes;
/// The pages in a real browser: a break is seen without a reload, and the figures are those of the report.
mod page;
/// Records that the collector never accepts: what lies behind them arrives, and gaps stand for them.
mod poison;
/// The quickstart, as somebody who tries it for the first time sees it, kills it and starts it again.
mod quickstart;
/// Calls against SIPp, through lost messages, and the responder against SIPp's callers.
mod sip;
/// The SQL probe against real PostgreSQL: what it measures, what it calls a failure, and that it writes nothing.
mod sql;
/// An agent that was stopped for a while: what it measured meanwhile blames nobody, and says so everywhere.
mod suspect;
