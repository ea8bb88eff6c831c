//! Where names are looked up.

use super::numbered::Sql;

/// The caller's own space, and the one whose registries everybody may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The space of the call.
    pub(crate) own: i64,
    /// The default space.
    pub(crate) shared: i64,
}

impl Scope {
    /// Whether a row of this space is seen.
    pub(crate) fn sees(self, space_id: i64) -> bool {
        space_id == self.own || space_id == self.shared
    }

    /// Adds `($1, $2)`: the spaces.
    pub(super) fn bind(self, sql: &mut Sql) -> &mut Sql {
        sql.bind_list([self.own, self.shared])
    }
}
