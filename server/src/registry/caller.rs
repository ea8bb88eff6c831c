//! Who asks.

use artifactd_domain::RunUid;

use crate::db::scope::Scope;

/// A user or service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its row.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// Who asks, and what for: the first parameter of every use case.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
    /// The space in which the call works.
    pub space_id: i64,
    /// The space whose registries everybody may use.
    pub shared_space_id: i64,
    /// The spaces that it may read.
    pub readable_space_ids: Vec<i64>,
    /// The id under which the call is logged.
    pub call_id: String,
    /// The run to which the call belongs.
    pub run: Option<RunUid>,
}

impl Caller {
    /// Where names of features, labels and the like are looked up.
    pub(crate) fn scope(&self) -> Scope {
        Scope {
            own: self.space_id,
            shared: self.shared_space_id,
        }
    }

    /// Whether the caller may see what belongs to a space.
    pub fn may_read(&self, space_id: i64) -> bool {
        self.readable_space_ids.contains(&space_id)
    }
}
