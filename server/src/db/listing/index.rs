//! The indexes of artifacts, and columns as a query on one of them has to write them.

use std::mem::discriminant;

use artifactd_domain::{ArtifactField, OrderBy, filter::Test};
use sea_orm::{
    DbBackend,
    sea_query::{Expr, Func},
};

use super::record;
use crate::db::{
    entities::artifacts::{self, Column as Col},
    filter::Columns,
};

/// An index that a query can walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Index {
    Id,
    Uid,
    Content,
    Key,
    Created,
    Updated,
    Size,
    Observations,
}

impl Index {
    /// Those that may lead to few rows, the likeliest first.
    pub(super) const ALL: [Self; 8] = [
        Self::Id,
        Self::Uid,
        Self::Content,
        Self::Key,
        Self::Created,
        Self::Updated,
        Self::Size,
        Self::Observations,
    ];

    /// The index that holds artifacts in an order.
    pub(super) fn of_order(by: OrderBy) -> Self {
        match by {
            OrderBy::CreatedAt => Self::Created,
            OrderBy::UpdatedAt => Self::Updated,
            OrderBy::Key => Self::Key,
            OrderBy::Size => Self::Size,
            OrderBy::NObservations => Self::Observations,
        }
    }

    /// The column that it is for.
    pub(super) fn column(self) -> Col {
        match self {
            Self::Id => Col::Id,
            Self::Uid => Col::Uid,
            Self::Content => Col::Sha256,
            Self::Key => Col::Key,
            Self::Created => Col::CreatedAtUs,
            Self::Updated => Col::UpdatedAtUs,
            Self::Size => Col::SizeBytes,
            Self::Observations => Col::NObservations,
        }
    }

    /// The field that it is for.
    pub(super) fn field(self) -> ArtifactField {
        match self {
            Self::Id => ArtifactField::Id,
            Self::Uid => ArtifactField::Uid,
            Self::Content => ArtifactField::Hash,
            Self::Key => ArtifactField::Key,
            Self::Created => ArtifactField::CreatedAt,
            Self::Updated => ArtifactField::UpdatedAt,
            Self::Size => ArtifactField::Size,
            Self::Observations => ArtifactField::NObservations,
        }
    }

    /// Whether it holds a column.
    pub(super) fn holds(self, column: Col) -> bool {
        let columns: &[Col] = match self {
            Self::Id => &[Col::Id],
            Self::Uid => &[Col::Uid],
            Self::Content => &[Col::SpaceId, Col::Sha256, Col::SizeBytes, Col::Id],
            Self::Key => &[Col::SpaceId, Col::Visibility, Col::Key, Col::Uid, Col::CreatedAtUs],
            Self::Created => &[Col::SpaceId, Col::Visibility, Col::CreatedAtUs, Col::Uid],
            Self::Updated => &[Col::SpaceId, Col::Visibility, Col::UpdatedAtUs, Col::Uid],
            Self::Size => &[Col::SpaceId, Col::Visibility, Col::SizeBytes, Col::Uid],
            Self::Observations => &[Col::SpaceId, Col::Visibility, Col::NObservations, Col::Uid],
        };
        columns.iter().any(|held| discriminant(held) == discriminant(&column))
    }
}

/// Columns in a query that shall walk one index.
///
/// SQLite knows nothing of how many rows a condition leaves, and PostgreSQL guesses, so
/// a query says which index it means: columns that have others are written in a way
/// which no index can use.
#[derive(Debug, Clone, Copy)]
pub(super) struct On {
    pub(super) backend: DbBackend,
    pub(super) index: Index,
}

impl On {
    /// The same query, where no column may be looked up in its index.
    pub(super) fn elsewhere(self) -> Self {
        let index = match self.index {
            Index::Id => Index::Uid,
            _ => Index::Id,
        };
        Self { index, ..self }
    }

    /// A column.
    pub(super) fn col(self, column: Col) -> Expr {
        let plain = Expr::col((artifacts::Entity, column));
        if self.index.holds(column) {
            return plain;
        }
        let (sqlite, postgres) = match column {
            Col::Id
            | Col::SpaceId
            | Col::Visibility
            | Col::CreatedAtUs
            | Col::UpdatedAtUs
            | Col::SizeBytes
            | Col::NObservations
            | Col::RunId
            | Col::FamilyId => ("+ ?", "$1 + 0"),
            Col::Uid | Col::Key => ("+ ?", "$1 || ''"),
            Col::Sha256 => ("+ ?", "$1 || ''::BYTEA"),
            _ => return plain,
        };
        match self.backend {
            DbBackend::Postgres => Expr::cust_with_expr(postgres, plain),
            _ => Expr::cust_with_expr(sqlite, plain),
        }
    }
}

impl Columns<ArtifactField> for On {
    fn has(&self, field: &ArtifactField) -> bool {
        !matches!(field, ArtifactField::Record(_))
    }

    fn other(&self, test: &Test<ArtifactField>) -> Option<Expr> {
        match test.id() {
            ArtifactField::Record(record) => Some(record::holds(*self, *record, test)),
            _ => None,
        }
    }

    fn column(&self, field: &ArtifactField) -> Expr {
        self.col(match field {
            ArtifactField::Stem => {
                let stem = Func::cust("substr").arg(self.col(Col::Uid)).arg(1i32).arg(16i32);
                return stem.into();
            }
            ArtifactField::Uid => Col::Uid,
            ArtifactField::Key => Col::Key,
            ArtifactField::Description => Col::Description,
            ArtifactField::Kind => Col::Kind,
            ArtifactField::Suffix => Col::Suffix,
            ArtifactField::FileName => Col::FileName,
            ArtifactField::MediaType => Col::MediaType,
            ArtifactField::Size => Col::SizeBytes,
            ArtifactField::Hash => Col::Sha256,
            ArtifactField::HashType => Col::HashType,
            ArtifactField::Version => Col::VersionLabel,
            ArtifactField::VersionNumber => Col::VersionNumber,
            ArtifactField::IsLatest => Col::IsLatest,
            ArtifactField::Visibility => Col::Visibility,
            ArtifactField::Space => Col::SpaceId,
            ArtifactField::Storage => Col::StorageId,
            ArtifactField::KeyIsVirtual => Col::KeyIsVirtual,
            ArtifactField::CreatedBy => Col::CreatedBy,
            ArtifactField::CreatedAt => Col::CreatedAtUs,
            ArtifactField::UpdatedAt => Col::UpdatedAtUs,
            ArtifactField::DeletedAt => Col::TrashedAtUs,
            ArtifactField::Id => Col::Id,
            ArtifactField::NObjects => Col::NObjects,
            ArtifactField::Accessor => Col::Accessor,
            ArtifactField::NObservations => Col::NObservations,
            ArtifactField::Record(_) => unreachable!("what is around an artifact is in no column"),
        })
    }
}
