//! Connections of a simulation: each keeps the order of its messages, unless a fault does not.

use super::Fault;
use super::world::{Event, World};
use probefleet_proto::v1;
use probefleet_proto::v1::from_agent::Message as Up;
use probefleet_proto::v1::to_agent::Message as Down;

/// Longest way of a message that nothing happens to, ms.
const WAY_MS: u64 = 50;
/// Longest delay by a fault, ms.
const DELAY_MS: u64 = 20_000;
/// When the collector notices that an agent is gone, ms.
const NOTICED_MS: u64 = 30_000;

/// A connection.
#[derive(Debug)]
pub struct Link {
    pub node: usize,
    /// The collector's process that it leads to.
    pub process: u64,
    /// Nothing passes any more.
    pub is_cut: bool,
    /// When the newest message of each direction arrives, ms.
    up_ms: u64,
    down_ms: u64,
}

impl Link {
    pub const fn new(node: usize, process: u64) -> Self {
        Self { node, process, is_cut: false, up_ms: 0, down_ms: 0 }
    }
}

impl World {
    /// When a message arrives, each time that it does.
    fn arrivals(&mut self, link: u64, is_up: bool, late_ms: u64) -> Vec<u64> {
        let Some(state) = self.links.get(&link) else { return Vec::new() };
        let (is_cut, newest_ms) = (state.is_cut, if is_up { state.up_ms } else { state.down_ms });
        if is_cut {
            self.fired.count(Fault::Partition);
            return Vec::new();
        }
        if self.strikes(Fault::Lose) {
            return Vec::new();
        }
        let mut at_ms = (self.now_ms + 1 + self.random.u64(..WAY_MS) + late_ms).max(newest_ms);
        if self.strikes(Fault::Delay) {
            at_ms += self.random.u64(..DELAY_MS);
        }
        if self.strikes(Fault::Reorder) {
            // It arrives by itself, before or behind what else is under way.
            return vec![self.now_ms + 1 + self.random.u64(..DELAY_MS / 10)];
        }
        let Some(state) = self.links.get_mut(&link) else { return Vec::new() };
        *(if is_up { &mut state.up_ms } else { &mut state.down_ms }) = at_ms;
        let mut arrivals = vec![at_ms];
        if self.strikes(Fault::Duplicate) {
            arrivals.push(at_ms + self.random.u64(..DELAY_MS));
        }
        arrivals
    }

    pub fn send_up(&mut self, link: u64, message: &Up) {
        for at_ms in self.arrivals(link, true, 0) {
            self.push(at_ms, Event::Up(link, message.clone()));
        }
    }

    fn send_down(&mut self, link: u64, message: &Down, late_ms: u64) {
        for at_ms in self.arrivals(link, false, late_ms) {
            self.push(at_ms, Event::Down(link, message.clone()));
        }
    }

    pub fn arrive_up(&mut self, link: u64, message: Up) {
        let Some(state) = self.links.get(&link) else { return };
        let (node, process) = (state.node, state.process);
        if process != self.process || !self.is_up {
            self.push(self.now_ms + 1, Event::Broken(link));
            return;
        }
        let late_ms = if self.slow_until_ms > self.now_ms {
            self.fired.count(Fault::SlowStore);
            self.random.u64(..5_000)
        } else {
            0
        };
        let said = describe_up(&message);
        let agent = self.nodes[node].id;
        let now_ns = self.wall_ns(0);
        let (answers, over) = self.collector.hear(link, agent, message, now_ns);
        let answered: Vec<String> = answers.iter().map(describe_down).collect();
        self.note(format_args!(
            "collector hears {said} of connection {link}: {}",
            answered.join(", ")
        ));
        for mut answer in answers {
            self.grant(&mut answer);
            self.send_down(link, &answer, late_ms);
        }
        if over {
            let at_ms =
                self.links.get(&link).map_or(self.now_ms, |state| state.down_ms.max(self.now_ms));
            self.push(at_ms + 1, Event::Broken(link));
        }
    }

    /// As much credit as the small spools can stand behind.
    fn grant(&self, answer: &mut Down) {
        match answer {
            Down::Welcome(welcome) => welcome.credit_bytes = self.plan.credit_bytes,
            Down::Ack(ack) => ack.credit_bytes = self.plan.credit_bytes,
            Down::Nack(_) | Down::Plan(_) | Down::GoAway(_) => {}
        }
    }

    pub fn arrive_down(&mut self, link: u64, message: Down) {
        let Some(node) = self.links.get(&link).map(|state| state.node) else { return };
        if self.nodes[node].link != Some(link) {
            return;
        }
        let said = describe_down(&message);
        self.note(format_args!("agent {node} hears {said}"));
        let now = self.now();
        if let Some(agent) = &mut self.nodes[node].agent {
            agent.receive(v1::ToAgent { message: Some(message) }, now);
        }
        self.act(node);
    }

    /// The agent's side of a connection ends; what it sent may still arrive for a while.
    pub fn leave(&mut self, link: u64) {
        self.push(self.now_ms + NOTICED_MS, Event::Noticed(link));
    }

    /// Both sides learn that a connection is gone.
    pub fn broken(&mut self, link: u64) {
        let Some(state) = self.links.remove(&link) else { return };
        self.collector.conversations.remove(&link);
        if self.nodes[state.node].link == Some(link) {
            self.disconnect(state.node, "the connection broke");
        }
    }
}

fn describe_up(message: &Up) -> String {
    match message {
        Up::Hello(hello) => format!("Hello(oldest {}, next {})", hello.oldest_seq, hello.next_seq),
        Up::Data(data) => match (data.records.first(), data.records.last()) {
            (Some(first), Some(last)) => format!("Data({} to {})", first.seq, last.seq_to),
            _ => "Data()".to_owned(),
        },
        Up::Status(_) => "Status".to_owned(),
        Up::PlanApplied(_) => "PlanApplied".to_owned(),
    }
}

fn describe_down(message: &Down) -> String {
    match message {
        Down::Welcome(welcome) => {
            format!("Welcome({}, session {})", welcome.last_seq, welcome.session)
        }
        Down::Ack(ack) => format!("Ack({})", ack.last_seq),
        Down::Nack(nack) => format!("Nack({}, {})", nack.code().as_str_name(), nack.expected_seq),
        Down::GoAway(_) => "GoAway".to_owned(),
        Down::Plan(_) => "Plan".to_owned(),
    }
}
