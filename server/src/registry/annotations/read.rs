//! What is known of artifacts, read for many at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use artifactd_domain::{ArtifactRef, Dtype, Item, Json, LabelBy, LabelName, Plain, RegistryName, Role, Value};
use sea_orm::ConnectionTrait;

use crate::{
    db::{
        DbError,
        annotations::{self, LabelLink, ValueRow},
        artifacts, features, labels,
    },
    registry::{Caller, Registry, RegistryError, Result},
};

/// A label of an artifact: registry, uid, name, and identifier in an ontology.
pub type LabelOf = (String, String, String, Option<String>);

/// Annotations of one artifact.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnnotationsOf {
    /// Values of features.
    pub features: Vec<ValuesOf>,
    /// Values of params.
    pub params: Vec<ValuesOf>,
    /// Labels that no feature holds.
    pub labels: Vec<LabelOf>,
}

/// The values of one feature or param.
#[derive(Debug, Clone, PartialEq)]
pub struct ValuesOf {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub dtype: Dtype,
    /// The values that are no labels.
    pub values: Vec<Value>,
    /// The values that are.
    pub labels: Vec<LabelOf>,
}

impl Registry {
    /// Annotations of some artifacts, in their order.
    pub async fn annotations(&self, caller: &Caller, references: &[ArtifactRef]) -> Result<Vec<AnnotationsOf>> {
        let conn = self.db.reader();
        let uids = self.uids_of(caller, references).await?;
        let distinct: BTreeSet<&str> = uids.iter().map(String::as_str).collect();
        let distinct: Vec<&str> = distinct.into_iter().collect();
        let rows = artifacts::by_uids(conn, &distinct).await?;
        let mut ids = Vec::with_capacity(uids.len());
        for uid in &uids {
            let row = rows.iter().find(|row| row.uid == *uid && caller.may_read(row.space_id));
            ids.push(row.ok_or_else(|| RegistryError::NotFound(uid.clone()))?.id);
        }
        let mut read = read(conn, &ids).await?;
        Ok(ids.iter().map(|id| read.remove(id).unwrap_or_default()).collect())
    }
}

/// Annotations of some artifacts by id: five queries, however many there are.
pub(in crate::registry) async fn read(
    conn: &impl ConnectionTrait,
    artifacts: &[i64],
) -> Result<HashMap<i64, AnnotationsOf>> {
    let values = annotations::values(conn, artifacts, None).await?;
    let links = annotations::labels(conn, artifacts).await?;
    let feature_ids: BTreeSet<i64> = values
        .iter()
        .map(|value| value.feature_id)
        .chain(links.iter().filter_map(|link| link.feature_id))
        .collect();
    let feature_ids: Vec<i64> = feature_ids.into_iter().collect();
    let mut features_by_id = HashMap::new();
    for row in features::by_ids(conn, &feature_ids).await? {
        features_by_id.insert(row.id, (row.role()?, row.name.clone(), row.dtype()?));
    }
    let names = label_names(conn, &links).await?;
    let mut of: HashMap<i64, BTreeMap<i64, Values>> = HashMap::new();
    let mut read: HashMap<i64, AnnotationsOf> = HashMap::new();
    for value in values {
        of.entry(value.artifact_id)
            .or_default()
            .entry(value.feature_id)
            .or_default()
            .plain
            .push(value);
    }
    for link in links {
        let Some(label) = names.get(&link.label_id).cloned() else {
            continue;
        };
        match link.feature_id {
            Some(feature) => of
                .entry(link.artifact_id)
                .or_default()
                .entry(feature)
                .or_default()
                .labels
                .push(label),
            None => read.entry(link.artifact_id).or_default().labels.push(label),
        }
    }
    for (artifact, values) in of {
        let annotations = read.entry(artifact).or_default();
        for (feature, values) in values {
            let Some((role, name, dtype)) = features_by_id.get(&feature) else {
                continue;
            };
            let values = values.of(name, dtype)?;
            match role {
                Role::Feature => annotations.features.push(values),
                Role::Param => annotations.params.push(values),
            }
        }
    }
    for annotations in read.values_mut() {
        annotations.features.sort_by(|a, b| a.name.cmp(&b.name));
        annotations.params.sort_by(|a, b| a.name.cmp(&b.name));
        annotations.labels.sort_by(|a, b| (&a.0, &a.2).cmp(&(&b.0, &b.2)));
    }
    Ok(read)
}

#[derive(Default)]
struct Values {
    plain: Vec<ValueRow>,
    labels: Vec<LabelOf>,
}

impl Values {
    fn of(self, name: &str, dtype: &Dtype) -> Result<ValuesOf> {
        let Self { mut plain, mut labels } = self;
        plain.sort_by(|a, b| {
            let floats = a
                .float_value
                .unwrap_or_default()
                .total_cmp(&b.float_value.unwrap_or_default());
            (a.int_value, &a.document, &a.text_value)
                .cmp(&(b.int_value, &b.document, &b.text_value))
                .then(floats)
        });
        labels.sort_by(|a, b| (&a.2, &a.0).cmp(&(&b.2, &b.0)));
        let values = plain.iter().map(|row| value_of(row, dtype));
        Ok(ValuesOf {
            name: name.to_owned(),
            dtype: dtype.clone(),
            values: values.collect::<Result<_>>()?,
            labels,
        })
    }
}

fn value_of(row: &ValueRow, dtype: &Dtype) -> Result<Value> {
    let impossible = || {
        RegistryError::Db(DbError::Row {
            table: "feature_values",
            column: "document",
        })
    };
    let document = row.document.as_deref();
    if dtype.is_list || dtype.item == Item::Dict {
        let json = Json::read(document.ok_or_else(impossible)?).map_err(|_| impossible())?;
        return match json {
            Json::List(items) if dtype.is_list => {
                let items = items.into_iter().map(|item| {
                    let plain = Plain::from_json(item).ok_or_else(impossible)?;
                    Ok(plain.to_value(&dtype.item))
                });
                Ok(Value::List(items.collect::<Result<_>>()?))
            }
            dict => Ok(Value::Dict(dict)),
        };
    }
    let plain = match (row.int_value, row.float_value, &row.text_value) {
        (Some(value), _, _) => Plain::Int(value),
        (None, Some(value), _) => Plain::Float(value),
        (None, None, Some(text)) => Plain::Text(document.unwrap_or(text).to_owned()),
        (None, None, None) => return Err(impossible()),
    };
    Ok(plain.to_value(&dtype.item))
}

async fn label_names(conn: &impl ConnectionTrait, links: &[LabelLink]) -> Result<HashMap<i64, LabelOf>> {
    let ids: BTreeSet<i64> = links.iter().map(|link| link.label_id).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<i64> = ids.into_iter().collect();
    let rows = labels::by_ids(conn, &ids).await?;
    let registries: BTreeSet<i64> = rows.iter().map(|row| row.registry_id).collect();
    let registries: Vec<i64> = registries.into_iter().collect();
    let registries = labels::registries_by_ids(conn, &registries).await?;
    let registries: HashMap<i64, String> = registries.into_iter().map(|row| (row.id, row.name)).collect();
    let names = rows.into_iter().map(|row| {
        let registry = registries.get(&row.registry_id).cloned().unwrap_or_default();
        (row.id, (registry, row.uid, row.name, row.ontology_id))
    });
    Ok(names.collect())
}

impl AnnotationsOf {
    /// As a caller would say it.
    pub(in crate::registry) fn said(&self) -> super::Annotations {
        let label = |label: &LabelOf| LabelName {
            registry: label.0.parse::<RegistryName>().ok(),
            by: LabelBy::Uid(label.1.clone()),
        };
        let named = |of: &[ValuesOf]| {
            let named = of.iter().map(|of| {
                let mut values = of.values.clone();
                let labels = of.labels.iter().map(|of| Value::Label(label(of)));
                match of.dtype.is_list && of.dtype.is_categorical() {
                    true => values.push(Value::List(labels.collect())),
                    false => values.extend(labels),
                }
                let name = of.name.clone();
                super::NamedValues { name, values }
            });
            named.collect()
        };
        super::Annotations {
            features: named(&self.features),
            params: named(&self.params),
            labels: self.labels.iter().map(label).collect(),
        }
    }
}
