//! Values by number, so that a cell holds a number instead of a name.

use super::EvidenceError;
use std::collections::HashMap;

/// Values by number, each once.
#[derive(Clone, Debug)]
pub(super) struct Interned<T> {
    pub(super) numbers: HashMap<T, u32>,
    pub(super) items: Vec<T>,
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    pub(super) fn new() -> Self {
        Self { numbers: HashMap::new(), items: Vec::new() }
    }

    pub(super) fn number(&mut self, item: T, most: usize) -> Result<u32, EvidenceError> {
        if let Some(number) = self.numbers.get(&item) {
            return Ok(*number);
        }
        let number = u32::try_from(self.items.len()).map_err(|_| EvidenceError::Full)?;
        if self.items.len() >= most {
            return Err(EvidenceError::Full);
        }
        self.items.push(item.clone());
        self.numbers.insert(item, number);
        Ok(number)
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.items.get(usize::try_from(number).ok()?)
    }
}
