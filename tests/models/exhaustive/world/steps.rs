//! Everything that can happen next in a state.

use super::World;
use super::wire::name;
use crate::store::Doubt;

impl World {
    /// Everything that can happen next.
    pub fn steps(&self) -> Vec<(String, Self)> {
        let mut steps = Vec::new();
        for message in &self.wire {
            let to = if message.is_up { "collector" } else { "agent" };
            let label = format!("{} reaches the {to}", name(message));
            steps.push((label.clone(), self.after(|world| world.deliver(message, false))));
            if message.is_up && self.left.duplicates > 0 {
                let twice = self.after(|world| {
                    world.left.duplicates -= 1;
                    world.deliver(message, true);
                });
                steps.push((format!("{label}, and is still under way"), twice));
            }
        }
        for member in 0..self.members.len() {
            self.steps_of(member, &mut steps);
        }
        self.steps_of_collector(&mut steps);
        steps
    }

    fn after(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.copy();
        change(&mut next);
        next
    }

    fn steps_of(&self, member: usize, steps: &mut Vec<(String, Self)>) {
        let who = if member == 0 { "agent" } else { "clone" };
        let mut push = |what: &str, next: Self| steps.push((format!("{who} {what}"), next));
        if self.members[member].is_over {
            return;
        }
        if self.left.windows > 0 {
            push("seals", self.after(|world| world.seal(member)));
        }
        if self.left.connects > 0 {
            push("connects", self.after(|world| world.connect(member)));
        }
        let flushed = self.members[member].agent.disk().is_flushed();
        if !flushed {
            push("writes through", self.after(|world| world.members[member].agent.disk().flush()));
        }
        if self.left.crashes > 0 {
            push("is killed", self.after(|world| world.crash(member, false)));
            if !flushed {
                push("loses power", self.after(|world| world.crash(member, true)));
            }
            if self.left.windows > 0 {
                for operation in 0.. {
                    let Some(killed) = self.dying(member, operation, false) else { break };
                    push(&format!("is killed at operation {operation} of sealing"), killed);
                    let unpowered = self.dying(member, operation, true).expect("likewise");
                    push(&format!("loses power at operation {operation} of sealing"), unpowered);
                }
            }
        }
        if self.left.clones > 0 {
            push("is cloned", self.after(|world| world.clone_member(member)));
        }
    }

    fn steps_of_collector(&self, steps: &mut Vec<(String, Self)>) {
        let mut push = |what: &str, next: Self| steps.push((what.to_owned(), next));
        if self.left.restarts > 0 {
            let restarted = self.after(|world| {
                world.left.restarts -= 1;
                world.hang_up();
            });
            push("collector restarts", restarted);
        }
        if self.left.doubts > 0 && self.collector.store.doubted() {
            for doubt in [Doubt::Done, Doubt::Undone, Doubt::Blind] {
                let doubted = self.after(|world| {
                    world.left.doubts -= 1;
                    world.collector.store.doubt(doubt);
                });
                push(&format!("next commit is in doubt ({doubt:?})"), doubted);
            }
        }
        if self.left.restores > 0 {
            match &self.backup {
                None => push(
                    "backup",
                    self.after(|world| world.backup = Some(world.collector.store.clone())),
                ),
                Some(_) => push("restore", self.after(Self::restore)),
            }
        }
    }
}
