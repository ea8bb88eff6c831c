//! From a name to a label.

use std::collections::{BTreeSet, HashMap};

use artifactd_domain::{LabelBy, LabelName, RegistryName};
use sea_orm::ConnectionTrait;

use crate::{
    db::{
        labels::{self, LabelKey, LabelRow, RegistryRow},
        scope::Scope,
    },
    registry::{Caller, Registry, RegistryError, Result, Thing, features::own_first},
};

/// How a text names a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelMatch {
    /// It names none.
    None,
    /// By its name.
    Name,
    /// By its identifier in an ontology.
    OntologyId,
    /// By a synonym that no other label has.
    Synonym,
    /// By a synonym that others have too.
    Ambiguous,
}

/// What a text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// How it matches.
    pub how: LabelMatch,
    /// Uid, name, and identifier in an ontology of the label.
    pub label: Option<(String, String, Option<String>)>,
}

impl Registry {
    /// Says for each text which label of a registry it means.
    pub async fn resolve_labels(
        &self,
        caller: &Caller,
        registry: &RegistryName,
        texts: &[String],
    ) -> Result<Vec<Resolved>> {
        let (conn, scope) = (self.db.reader(), caller.scope());
        let registry = self::registry(conn, scope, registry).await?;
        let keys: Vec<&str> = texts.iter().map(String::as_str).collect();
        let by_key = async |key| -> Result<HashMap<String, LabelRow>> {
            let mut found: HashMap<String, Vec<LabelRow>> = HashMap::new();
            for row in labels::by_keys(conn, scope, &[registry.id], key, &keys).await? {
                let text = match key {
                    LabelKey::OntologyId => row.ontology_id.clone().unwrap_or_default(),
                    _ => row.name.clone(),
                };
                found.entry(text).or_default().push(row);
            }
            let own = found
                .into_iter()
                .filter_map(|(text, rows)| Some((text, own_first(rows, scope, |row| row.space_id)?)));
            Ok(own.collect())
        };
        let names = by_key(LabelKey::Name).await?;
        let ids = by_key(LabelKey::OntologyId).await?;
        let mut synonyms: HashMap<String, Vec<LabelRow>> = HashMap::new();
        for (synonym, row) in labels::by_synonyms(conn, scope, registry.id, &keys).await? {
            synonyms.entry(synonym).or_default().push(row);
        }
        let resolved = texts.iter().map(|text| {
            let (how, row) = match (names.get(text), ids.get(text), synonyms.get(text).map(Vec::as_slice)) {
                (Some(row), _, _) => (LabelMatch::Name, Some(row)),
                (None, Some(row), _) => (LabelMatch::OntologyId, Some(row)),
                (None, None, Some([row])) => (LabelMatch::Synonym, Some(row)),
                (None, None, Some(_)) => (LabelMatch::Ambiguous, None),
                (None, None, None) => (LabelMatch::None, None),
            };
            let label = row.map(|row| (row.uid.clone(), row.name.clone(), row.ontology_id.clone()));
            Resolved { how, label }
        });
        Ok(resolved.collect())
    }
}

/// The registry with this name.
pub(super) async fn registry(conn: &impl ConnectionTrait, scope: Scope, name: &RegistryName) -> Result<RegistryRow> {
    let found = labels::registries_by_names(conn, scope, &[name.as_str()]).await?;
    own_first(found, scope, |row| row.space_id).ok_or_else(|| RegistryError::Missing {
        what: Thing::LabelRegistry,
        name: name.to_string(),
    })
}

/// A label by its name alone; without a registry in that which every server has.
pub(super) async fn find(conn: &impl ConnectionTrait, scope: Scope, label: &LabelName) -> Result<LabelRow> {
    if let (None, LabelBy::Uid(uid)) = (&label.registry, &label.by) {
        let found = labels::by_uid(conn, uid).await?;
        let found = found.filter(|row| scope.sees(row.space_id));
        return found.ok_or_else(|| missing(label));
    }
    let registry = match &label.registry {
        Some(name) => registry(conn, scope, name).await?,
        None => registry(conn, scope, &RegistryName::ulabel()).await?,
    };
    find_in(conn, scope, &registry, label).await
}

/// A label of a registry.
pub(super) async fn find_in(
    conn: &impl ConnectionTrait,
    scope: Scope,
    registry: &RegistryRow,
    label: &LabelName,
) -> Result<LabelRow> {
    if label
        .registry
        .as_ref()
        .is_some_and(|name| name.as_str() != registry.name)
    {
        return Err(missing(label));
    }
    let wanted = Wanted {
        label: label.clone(),
        registries: vec![registry.clone()],
    };
    let mut found = find_all(conn, scope, &[wanted]).await?;
    found.remove(0).ok_or_else(|| missing(label))
}

fn missing(label: &LabelName) -> RegistryError {
    RegistryError::Missing {
        what: Thing::Label,
        name: label.to_string(),
    }
}

/// A label that is looked for, and where.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Wanted {
    pub(in crate::registry) label: LabelName,
    /// Registries in which it may be; the first that has it counts.
    pub(in crate::registry) registries: Vec<RegistryRow>,
}

/// Looks for many labels at once: a query for each way of naming them that is used.
pub(in crate::registry) async fn find_all(
    conn: &impl ConnectionTrait,
    scope: Scope,
    wanted: &[Wanted],
) -> Result<Vec<Option<LabelRow>>> {
    let registries: BTreeSet<i64> = wanted
        .iter()
        .flat_map(|wanted| wanted.registries.iter().map(|row| row.id))
        .collect();
    let registries: Vec<i64> = registries.into_iter().collect();
    let mut found: HashMap<(LabelKey, i64, String), Vec<LabelRow>> = HashMap::new();
    for key in [LabelKey::Uid, LabelKey::Name, LabelKey::OntologyId] {
        let keys: BTreeSet<&str> = wanted
            .iter()
            .filter_map(|wanted| Some(wanted.label.by.key()).filter(|(of, _)| *of == key))
            .map(|(_, text)| text)
            .collect();
        if keys.is_empty() || registries.is_empty() {
            continue;
        }
        let keys: Vec<&str> = keys.into_iter().collect();
        for row in labels::by_keys(conn, scope, &registries, key, &keys).await? {
            let text = match key {
                LabelKey::Uid => row.uid.clone(),
                LabelKey::Name => row.name.clone(),
                LabelKey::OntologyId => row.ontology_id.clone().unwrap_or_default(),
            };
            found.entry((key, row.registry_id, text)).or_default().push(row);
        }
    }
    let rows = wanted.iter().map(|wanted| {
        let (key, text) = wanted.label.by.key();
        let allowed = wanted.registries.iter().filter(|row| {
            wanted
                .label
                .registry
                .as_ref()
                .is_none_or(|name| name.as_str() == row.name)
        });
        allowed
            .filter_map(|row| found.get(&(key, row.id, text.to_owned())))
            .find_map(|rows| own_first(rows.clone(), scope, |row| row.space_id))
    });
    Ok(rows.collect())
}

/// How the ways of naming a label are looked up.
trait Keyed {
    fn key(&self) -> (LabelKey, &str);
}

impl Keyed for LabelBy {
    fn key(&self) -> (LabelKey, &str) {
        match self {
            Self::Uid(text) => (LabelKey::Uid, text),
            Self::Name(text) => (LabelKey::Name, text),
            Self::OntologyId(text) => (LabelKey::OntologyId, text),
        }
    }
}
