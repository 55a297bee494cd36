//! A reading as text for a terminal, as Markdown and as JSON. All three have the same clauses with the same numbers.

use super::{Clause, Reading, Section};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Columns of a line of text.
const COLUMNS: usize = 80;
/// Columns before the words of a clause.
const CLAUSE_INDENT: usize = 8;
/// Columns before the words of an item.
const ITEM_INDENT: usize = 10;

impl Reading {
    /// As text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        for (number, section) in (1..).zip(&self.sections) {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "\n{number}. {}\n", section.heading);
            for (clause_number, clause) in (1..).zip(&section.clauses) {
                let label = format!("  {number}.{clause_number}");
                wrapped(&mut text, &label, CLAUSE_INDENT, &clause.text);
                for item in &clause.items {
                    let label = format!("{:CLAUSE_INDENT$}-", "");
                    wrapped(&mut text, &label, ITEM_INDENT, item);
                }
            }
        }
        text
    }

    /// As Markdown.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = format!("# {}\n", escaped(&self.title));
        for (number, section) in (1..).zip(&self.sections) {
            let _infallible = write!(text, "\n## {number} {}\n", escaped(&section.heading));
            for (clause_number, clause) in (1..).zip(&section.clauses) {
                let _infallible =
                    write!(text, "\n{number}.{clause_number} {}\n", escaped(&clause.text));
                if !clause.items.is_empty() {
                    text.push('\n');
                }
                for item in &clause.items {
                    let _infallible = writeln!(text, "- {}", escaped(item));
                }
            }
        }
        text
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let sections: Vec<Value> =
            (1..).zip(&self.sections).map(|(number, section)| section.to_json(number)).collect();
        json!({
            "agreement": self.agreement,
            "version": self.version,
            "title": self.title,
            "sections": sections,
        })
    }
}

impl Section {
    fn to_json(&self, number: usize) -> Value {
        let clause = |(clause_number, clause): (usize, &Clause)| {
            json!({
                "number": format!("{number}.{clause_number}"),
                "text": clause.text,
                "items": clause.items,
            })
        };
        let clauses: Vec<Value> = (1..).zip(&self.clauses).map(clause).collect();
        json!({
            "number": number.to_string(),
            "name": self.name,
            "heading": self.heading,
            "clauses": clauses,
        })
    }
}

/// Adds words with a label before the first line, the others as far to the right as the first.
fn wrapped(text: &mut String, label: &str, indent: usize, words: &str) {
    let mut line = label.to_owned();
    let mut columns = 0;
    for word in words.split(' ') {
        let width = word.chars().count();
        if columns > 0 && indent + columns + 1 + width > COLUMNS {
            text.push_str(&line);
            text.push('\n');
            line = String::new();
            columns = 0;
        }
        if columns == 0 {
            let gap =
                indent.saturating_sub(line.chars().count()).max(usize::from(!line.is_empty()));
            line.push_str(&" ".repeat(gap));
        } else {
            line.push(' ');
            columns += 1;
        }
        line.push_str(word);
        columns += width;
    }
    text.push_str(&line);
    text.push('\n');
}

/// Words that mean themselves in Markdown (§2.4 of its specification, version 0.31.2).
fn escaped(words: &str) -> String {
    let letters: Vec<char> = words.chars().collect();
    let digits = letters.iter().take_while(|letter| letter.is_ascii_digit()).count();
    let in_word = |place: usize| {
        let is_word = |at: Option<usize>| {
            at.and_then(|at| letters.get(at)).is_some_and(|letter| letter.is_alphanumeric())
        };
        is_word(place.checked_sub(1)) && is_word(place.checked_add(1))
    };
    let mut escaped = String::with_capacity(words.len());
    for (place, letter) in letters.iter().copied().enumerate() {
        let always = matches!(letter, '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '&');
        let emphasis = matches!(letter, '_' | '~') && !in_word(place);
        let begins_block = (place == 0 && matches!(letter, '#' | '-' | '+' | '='))
            || (digits > 0 && place == digits && matches!(letter, '.' | ')'));
        if always || emphasis || begins_block {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}
