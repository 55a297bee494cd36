//! Tables: numbers with names, for people and for programs.

use crate::machine::Machine;
use serde_json::{Map, Value, json};

/// Rows of figures under one heading.
#[derive(Debug)]
pub struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Row>,
    notes: Vec<String>,
    missed: Vec<String>,
}

#[derive(Debug)]
struct Row {
    name: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Figures(Vec<Option<Figure>>),
    Skipped(String),
}

/// A number, and how many decimals of it mean something.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    value: f64,
    decimals: usize,
}

/// A figure of a row.
pub fn figure(value: f64, decimals: usize) -> Option<Figure> {
    value.is_finite().then_some(Figure { value, decimals })
}

impl Table {
    /// Without rows yet.
    pub fn new(title: &str, columns: &[&'static str]) -> Self {
        Self {
            title: title.to_owned(),
            columns: columns.to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
            missed: Vec::new(),
        }
    }

    /// A row; `None` where a column has no meaning for it.
    pub fn row(&mut self, name: &str, figures: &[Option<Figure>]) {
        assert_eq!(figures.len(), self.columns.len(), "{name}: a figure for each column");
        self.rows.push(Row { name: name.to_owned(), content: Content::Figures(figures.to_vec()) });
    }

    /// A row that could not be measured here.
    pub fn skip(&mut self, name: &str, needs: &str) {
        let content = Content::Skipped(format!("skipped: needs {needs}"));
        self.rows.push(Row { name: name.to_owned(), content });
    }

    /// A line below the table.
    pub fn note(&mut self, line: &str) {
        self.notes.push(line.to_owned());
    }

    /// A limit that was not kept: whoever asked for the table is told, when it has been printed.
    pub fn miss(&mut self, line: &str) {
        self.missed.push(line.to_owned());
    }

    /// The limits that were not kept.
    pub fn missed(&self) -> &[String] {
        &self.missed
    }
}

/// For people: aligned, wide enough for the longest, units in the heads.
pub fn text(table: &Table) -> String {
    let mut lines =
        vec![std::iter::once("").chain(table.columns.iter().copied()).map(str::to_owned).collect()];
    for row in &table.rows {
        let cells = match &row.content {
            Content::Figures(figures) => figures.iter().map(|figure| shown(*figure)).collect(),
            Content::Skipped(_) => Vec::new(),
        };
        lines.push(std::iter::once(row.name.clone()).chain(cells).collect::<Vec<String>>());
    }
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..=table.columns.len()).filter_map(width).collect();
    let mut out = format!("{}\n", table.title);
    for (index, line) in lines.iter().enumerate() {
        let mut written = format!("  {:<width$}", line[0], width = widths[0]);
        for (cell, width) in line[1..].iter().zip(&widths[1..]) {
            written.push_str(&format!("  {cell:>width$}"));
        }
        let row = index.checked_sub(1).and_then(|index| table.rows.get(index));
        if let Some(Row { content: Content::Skipped(why), .. }) = row {
            written.push_str(&format!("  {why}"));
        }
        out.push_str(written.trim_end());
        out.push('\n');
    }
    table.notes.iter().for_each(|note| out.push_str(&format!("  * {note}\n")));
    out
}

/// A number with its thousands apart.
fn shown(figure: Option<Figure>) -> String {
    let Some(Figure { value, decimals }) = figure else { return "-".to_owned() };
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left.is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    if fraction.is_empty() { out } else { format!("{out}.{fraction}") }
}

/// For programs: everything in one object.
pub fn json(machine: &Machine, tables: &[Table]) -> Value {
    let row = |table: &Table, row: &Row| {
        let mut object = Map::from_iter([("row".to_owned(), Value::from(row.name.clone()))]);
        match &row.content {
            Content::Skipped(why) => drop(object.insert("skipped".to_owned(), json!(why))),
            Content::Figures(figures) => {
                for (column, figure) in table.columns.iter().zip(figures) {
                    object.insert((*column).to_owned(), json!(figure.map(|figure| figure.value)));
                }
            }
        }
        Value::from(object)
    };
    let table = |table: &Table| {
        let rows: Vec<Value> = table.rows.iter().map(|one| row(table, one)).collect();
        json!({"title": table.title, "rows": rows, "notes": table.notes, "missed": table.missed})
    };
    json!({"machine": machine.json(), "tables": tables.iter().map(table).collect::<Vec<_>>()})
}
