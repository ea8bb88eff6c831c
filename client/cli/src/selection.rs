//! Which table of which artifact, and what of it: what commands that read tables share.

use std::ops::Range;

use artifactd_client::{Client, Table, domain::manifest::MemberPath};

use crate::exit::Failure;

/// What to read of a table.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// The artifact
    artifact: String,
    /// Path of the file that holds the table, when the artifact is a folder
    #[arg(long, value_name = "PATH")]
    member: Option<String>,
    /// Names of columns, in the order in which they are wanted; all unless set
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    columns: Vec<String>,
    /// What rows must hold, such as `age > 60 AND tissue = "lung"`
    #[arg(long, short, value_name = "FILTER")]
    filter: Option<String>,
    /// Rows by number, from 0 and without the last one, such as `100..200` or `100..`
    #[arg(long, value_name = "FROM..TO", value_parser = rows)]
    rows: Option<Range<u64>>,
}

fn rows(text: &str) -> Result<Range<u64>, String> {
    let wrong = || "must be two numbers with two dots between them, as in 100..200".to_owned();
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str, unset| match text {
        "" => Ok(unset),
        text => text.parse().map_err(|_| wrong()),
    };
    let rows = number(start, 0)?..number(end, i64::MAX as u64)?;
    match rows.start <= rows.end {
        true => Ok(rows),
        false => Err("must not end before it starts".to_owned()),
    }
}

impl Selection {
    /// The name that the user gave to what is read.
    pub(crate) fn name(&self) -> &str {
        self.member.as_deref().unwrap_or(&self.artifact)
    }

    /// Opens the table, with all of its columns.
    pub(crate) async fn open(&self, client: &Client) -> Result<Table, Failure> {
        let Some(member) = &self.member else {
            return Ok(client.open(&self.artifact).await?);
        };
        let path: Result<MemberPath, _> = member.parse();
        let path = path.map_err(|error| Failure::usage(format!("`{member}`: {error}")))?;
        Ok(client.open_element(&self.artifact, path.as_str().split('/')).await?)
    }

    /// Says of an open table what is wanted of it.
    pub(crate) fn apply(&self, mut table: Table) -> Table {
        if !self.columns.is_empty() {
            table = table.columns(self.columns.iter().map(String::as_str));
        }
        if let Some(filter) = &self.filter {
            table = table.filter(filter.as_str());
        }
        match &self.rows {
            Some(rows) => table.rows(rows.clone()),
            None => table,
        }
    }

    /// The columns that are wanted, or all of those that are given.
    pub(crate) fn wants(&self, column: &str) -> bool {
        self.columns.is_empty() || self.columns.iter().any(|wanted| wanted == column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_by_where_they_start_and_end() {
        assert_eq!(rows("3..7"), Ok(3..7));
        assert_eq!(rows("..7"), Ok(0..7));
        assert_eq!(rows("3.."), Ok(3..i64::MAX as u64));
        for wrong in ["", "3", "7..3", "-1..3", "a..b", "1..2..3"] {
            assert!(rows(wrong).is_err(), "{wrong}");
        }
    }
}
