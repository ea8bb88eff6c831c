//! Tables that there are, as they were when they were saved: nothing of their content is read.

use std::{collections::HashMap, sync::Arc};

use arrow_schema::SchemaRef;
use artifactd_domain::{Order, filter::Filter};

use super::super::{Artifact, Caller, ListQuery, Registry, RegistryError, Result, Selection, list::Place, looking};
use crate::{arrays, db::tables};

/// Records that are looked through at once.
const PAGE_ROWS: u64 = 200;

/// A table in a list.
#[derive(Debug, Clone)]
pub struct ListedTable {
    /// Whose it is.
    pub artifact: Artifact,
    /// Its columns.
    pub schema: SchemaRef,
}

impl Registry {
    /// Tables of the caller's space, newest first, and where the next ones start. There may
    /// be none among some, and more after them.
    pub async fn tables(
        &self,
        caller: &Caller,
        selection: &Selection,
        after: Option<Place>,
    ) -> Result<(Vec<ListedTable>, Option<Place>)> {
        // Held against the fields as it was written, so that faults are found where they are.
        self.predicate(caller, &selection.filter).await?;
        let tables_only = match selection.filter.as_str().trim() {
            "" => "accessor = DATA_FRAME".to_owned(),
            filter => format!("accessor = DATA_FRAME AND ({filter})"),
        };
        let filter = tables_only
            .parse::<Filter>()
            .map_err(|fault| RegistryError::field("filter", fault))?;
        let query = ListQuery {
            selection: Selection {
                filter,
                visibilities: selection.visibilities.clone(),
            },
            order: Order::default(),
            after,
            rows: PAGE_ROWS,
        };
        let page = self.list(caller, &query).await?;
        let ids: Vec<i64> = page.artifacts.iter().map(|artifact| artifact.id).collect();
        let known = tables::of_artifacts(self.db.reader(), &ids).await?;
        let mut known: HashMap<i64, tables::StoredTable> = known.into_iter().collect();
        let listed = page.artifacts.into_iter().filter_map(|artifact| {
            let stored = known.remove(&artifact.id)?;
            let summary = looking::from_row(&stored, None)?;
            let schema = Arc::new(arrays::read_schema(&summary.schema).ok()?);
            Some(ListedTable { artifact, schema })
        });
        Ok((listed.collect(), page.next))
    }
}
