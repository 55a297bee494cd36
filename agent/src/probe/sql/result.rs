//! A result as it comes in: counted, its first value kept, its checksum made; no row outlives the next.

use super::value;
use probefleet_proto::hex::hex;
use sha2::{Digest as _, Sha256};
use std::error::Error;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

/// A whole result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// How many rows.
    pub(super) rows: u64,
    /// The first value of the first row as text, or why there is none.
    pub(super) first: Result<String, String>,
    /// Of all rows, in 64 hexadecimal digits.
    pub(super) checksum: String,
}

/// A result under way.
#[derive(Debug)]
pub(super) struct Taking {
    rows: u64,
    first: Result<String, String>,
    checksum: Sha256,
}

impl Taking {
    /// Before the first row.
    pub(super) fn new() -> Self {
        Self { rows: 0, first: Err("there is no row".to_owned()), checksum: Sha256::new() }
    }

    /// Takes a row. The checksum is over all rows as they come: of each the number of columns (16 bits), of each column
    /// its length in bytes (32 bits, -1 for NULL) and its value, all as they are on the wire, in PostgreSQL's binary format.
    pub(super) fn take(&mut self, row: &Row) -> Result<(), tokio_postgres::Error> {
        if self.rows == 0 {
            self.first = first(row)?;
        }
        self.rows += 1;
        // PostgreSQL has at most 1,664 columns.
        self.checksum.update(u16::try_from(row.len()).unwrap_or(u16::MAX).to_be_bytes());
        for column in 0..row.len() {
            match row.try_get::<_, Option<Raw<'_>>>(column)? {
                None => self.checksum.update((-1_i32).to_be_bytes()),
                Some(Raw(value)) => {
                    self.checksum
                        .update(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
                    self.checksum.update(value);
                }
            }
        }
        Ok(())
    }

    /// After the last row.
    pub(super) fn done(self) -> Taken {
        let checksum = hex(&self.checksum.finalize());
        Taken { rows: self.rows, first: self.first, checksum }
    }
}

fn first(row: &Row) -> Result<Result<String, String>, tokio_postgres::Error> {
    let Some(column) = row.columns().first() else {
        return Ok(Err("a row without columns".to_owned()));
    };
    let Some(Raw(raw)) = row.try_get::<_, Option<Raw<'_>>>(0)? else {
        return Ok(Err("the first value is NULL".to_owned()));
    };
    Ok(value::text(column.type_(), raw).ok_or_else(|| {
        format!(
            "the first value is of type {}: write `::text` behind it in the query",
            column.type_()
        )
    }))
}

/// A value as it is on the wire.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
