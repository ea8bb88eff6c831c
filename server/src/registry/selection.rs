//! Which artifacts a caller means: a filter and visibilities, in the words of the database.

mod record;

use artifactd_domain::{
    ArtifactField, Order, Visibility,
    filter::{Comparison, Entry, Field, Filter, Predicate, Subject, Test, Type, Value},
};

use super::{Caller, Registry, Result};
use crate::db::listing::Listing;

/// Which artifacts of a space.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Those that match.
    pub filter: Filter,
    /// Of these visibilities. When none is named: those that the filter asks for, and
    /// DEFAULT alone when it asks for none.
    pub visibilities: Vec<Visibility>,
}

const VISIBILITIES: [Visibility; 3] = [Visibility::Default, Visibility::Hidden, Visibility::Trash];

impl Registry {
    /// The listings that together hold the selection: one for each visibility that can match.
    pub(super) async fn listings(&self, caller: &Caller, selection: &Selection, order: Order) -> Result<Vec<Listing>> {
        let filter = self.predicate(caller, &selection.filter).await?;
        let visibilities = match selection.visibilities.as_slice() {
            [] if asks_for_visibility(&selection.filter) => &VISIBILITIES,
            [] => &[Visibility::Default][..],
            named => named,
        };
        let mut listings = Vec::new();
        for visibility in visibilities {
            let of_it = Only(Value::Int(visibility.code().into()));
            let space = Only(Value::Text(self.places.space(caller.space_id)?.name.clone()));
            let filter = filter.clone().map(&|test| match test.id() {
                ArtifactField::Visibility => constant(test.holds(&of_it)),
                ArtifactField::Space => constant(test.holds(&space)),
                ArtifactField::Storage => by_ids(&test, self.places.storage_names()),
                ArtifactField::CreatedBy => by_ids(&test, self.places.principal_names()),
                _ => Predicate::Is(test),
            });
            if !filter.is_never() {
                listings.push(Listing {
                    space_id: caller.space_id,
                    visibility: *visibility,
                    order,
                    filter,
                });
            }
        }
        Ok(listings)
    }
}

fn asks_for_visibility(filter: &Filter) -> bool {
    filter.restrictions().into_iter().any(|restriction| {
        let Subject::Field(name) = &restriction.subject else {
            return false;
        };
        name.path() == [ArtifactField::Visibility.name()]
    })
}

/// An entry of which one value is all that is asked.
struct Only(Value);

impl Entry<ArtifactField> for Only {
    fn values(&self, _field: &ArtifactField) -> Vec<Value> {
        vec![self.0.clone()]
    }
}

fn constant(holds: bool) -> Predicate<ArtifactField> {
    if holds { Predicate::always() } else { Predicate::never() }
}

/// A test of a name as one of the ids of those names for which it holds.
fn by_ids<'n>(test: &Test<ArtifactField>, names: impl Iterator<Item = (i64, &'n str)>) -> Predicate<ArtifactField> {
    let holding = names.filter(|(_, name)| test.holds(&Only(Value::Text((*name).to_owned()))));
    let is = |id: i64| {
        let field = Field::new(*test.id(), Type::Int);
        Predicate::Is(Test::Compare(field, Comparison::Equal, Value::Int(id.into())))
    };
    Predicate::any(holding.map(|(id, _)| is(id)).collect())
}
