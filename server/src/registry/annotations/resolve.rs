//! From what a caller says to rows: features, values that fit, labels.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use artifactd_domain::{
    Dtype, Fitted, Item, Json, LabelBy, LabelName, Name, Plain, RegistryName, Role, Synonyms, Value, common_dtype,
    document_key, fit, text_key,
};

use super::{AnnotationFault, Annotations, NamedValues, Registered, WhyNot};
use crate::{
    db::{
        Txn,
        annotations::{LabelLink, ValueRow},
        features::{self, FeatureRow},
        labels::{self, LabelRow, RegistryRow},
        scope::Scope,
    },
    registry::{
        Caller, RegistryError, Result,
        features::{NewFeature, insert, own_first},
        labels::{Wanted, find_all, insert_names},
    },
};

/// Faults that one refusal names at most.
const FAULTS_MAX: usize = 100;

/// What is kept of one value.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::registry) enum Kept {
    /// A value that is no label.
    Plain(Plain),
    /// A list of them.
    List(Vec<Plain>),
    /// A label, by its id.
    Label(i64),
}

/// The values of one name that was found.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Resolved {
    /// The feature or param; `None` for labels that no feature holds.
    pub(in crate::registry) feature_id: Option<i64>,
    pub(in crate::registry) is_categorical: bool,
    pub(in crate::registry) values: Vec<Kept>,
}

/// What a call says, as rows.
#[derive(Debug, Clone, Default)]
pub(in crate::registry) struct Resolution {
    /// What goes, what takes the place of others, what comes.
    pub(in crate::registry) parts: [Vec<Resolved>; 3],
    pub(in crate::registry) registered: Registered,
    names: BTreeSet<String>,
    label_names: BTreeSet<String>,
}

impl Resolution {
    /// What only comes.
    pub(in crate::registry) fn added(&self) -> &[Resolved] {
        &self.parts[2]
    }

    /// Whether something goes or takes the place of something.
    pub(in crate::registry) fn removes(&self) -> bool {
        !self.parts[0].is_empty() || !self.parts[1].is_empty()
    }

    /// Whether labels are among it.
    pub(in crate::registry) fn has_labels(&self) -> bool {
        self.parts.iter().flatten().any(|resolved| resolved.is_categorical)
    }

    /// Names of the features and params.
    pub(in crate::registry) fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).take(20).collect()
    }

    /// Names of labels.
    pub(in crate::registry) fn label_names(&self) -> Vec<&str> {
        self.label_names.iter().map(String::as_str).take(20).collect()
    }
}

impl Kept {
    /// Its rows for an artifact.
    pub(in crate::registry) fn rows(&self, artifact_id: i64, artifact_at_us: i64, feature_id: i64) -> Vec<ValueRow> {
        let empty = ValueRow {
            artifact_id,
            feature_id,
            int_value: None,
            float_value: None,
            text_value: None,
            document: None,
            is_item: false,
            artifact_at_us,
        };
        match self {
            Self::Label(_) => Vec::new(),
            Self::Plain(plain) => vec![row_of(plain, empty)],
            Self::List(items) => {
                let document = Json::List(items.iter().map(Plain::to_json).collect()).to_string();
                let mut rows = vec![ValueRow {
                    text_value: Some(document_key(&document)),
                    document: Some(document),
                    ..empty.clone()
                }];
                rows.extend(items.iter().map(|item| {
                    let item = row_of(item, empty.clone());
                    ValueRow { is_item: true, ..item }
                }));
                rows
            }
        }
    }

    /// Its link to an artifact.
    pub(in crate::registry) fn link(
        &self,
        artifact_id: i64,
        artifact_at_us: i64,
        feature_id: Option<i64>,
    ) -> Option<LabelLink> {
        match self {
            Self::Label(label_id) => Some(LabelLink {
                artifact_id,
                label_id: *label_id,
                feature_id,
                artifact_at_us,
            }),
            Self::Plain(_) | Self::List(_) => None,
        }
    }
}

fn row_of(plain: &Plain, empty: ValueRow) -> ValueRow {
    match plain {
        Plain::Int(value) => ValueRow {
            int_value: Some(*value),
            ..empty
        },
        Plain::Float(value) => ValueRow {
            float_value: Some(*value),
            ..empty
        },
        Plain::Text(text) => {
            let key = text_key(text);
            ValueRow {
                document: (key != *text).then(|| text.clone()),
                text_value: Some(key),
                ..empty
            }
        }
        Plain::Dict(json) => {
            let document = json.to_string();
            ValueRow {
                text_value: Some(document_key(&document)),
                document: Some(document),
                ..empty
            }
        }
    }
}

/// A feature that was found, and where its labels are.
struct Known {
    row: FeatureRow,
    dtype: Dtype,
    registries: Vec<RegistryRow>,
}

/// Where a label stands in what is resolved, once it is found.
struct Slot {
    part: usize,
    place: usize,
    path: String,
    is_registered_when_missing: bool,
}

struct Resolver<'c> {
    txn: &'c Txn,
    caller: &'c Caller,
    scope: Scope,
    register: bool,
    faults: Vec<AnnotationFault>,
    resolution: Resolution,
    wanted: Vec<Wanted>,
    slots: Vec<Slot>,
}

/// The parts of a request with their names: what goes, what takes the place of others, what comes.
pub(in crate::registry) type Parts<'p> = [(&'static str, &'p Annotations); 3];

const REMOVE: usize = 0;

/// Resolves all that a call says, or fails with all that is wrong with it.
pub(in crate::registry) async fn resolve(
    txn: &Txn,
    caller: &Caller,
    scope: Scope,
    parts: &Parts<'_>,
    register: bool,
) -> Result<Resolution> {
    let mut resolver = Resolver {
        txn,
        caller,
        scope,
        register,
        faults: Vec::new(),
        resolution: Resolution::default(),
        wanted: Vec::new(),
        slots: Vec::new(),
    };
    for role in [Role::Feature, Role::Param] {
        resolver.values(role, parts).await?;
    }
    resolver.plain_labels(parts).await?;
    resolver.find_labels().await?;
    if resolver.faults.is_empty() {
        Ok(resolver.resolution)
    } else {
        resolver.faults.truncate(FAULTS_MAX);
        Err(RegistryError::Annotation(resolver.faults))
    }
}

fn named(part: &Annotations, role: Role) -> &[NamedValues] {
    match role {
        Role::Feature => &part.features,
        Role::Param => &part.params,
    }
}

/// What texts are taken for when nobody has said.
fn text_item(role: Role) -> Item {
    match role {
        Role::Feature => Item::Cat(vec![RegistryName::ulabel()]),
        Role::Param => Item::Str,
    }
}

impl Resolver<'_> {
    fn fault(&mut self, path: String, why: WhyNot) {
        self.faults.push(AnnotationFault { path, why });
    }

    async fn values(&mut self, role: Role, parts: &Parts<'_>) -> Result<()> {
        let names: BTreeSet<&str> = parts
            .iter()
            .flat_map(|(_, part)| named(part, role))
            .map(|named| named.name.as_str())
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let mut known = self.known(role, &names).await?;
        let missing: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| !known.contains_key(*name))
            .collect();
        for name in missing {
            if let Some(made) = self.register_feature(role, name, parts).await? {
                known.insert(name.to_owned(), made);
            }
        }
        for (number, (part_name, part)) in parts.iter().enumerate() {
            for (place, named) in named(part, role).iter().enumerate() {
                let path = format!("{part_name}.{}s[{place}]", role.as_str());
                match known.get(&named.name) {
                    Some(known) => self.fit_values(number, &path, known, named),
                    None if number == REMOVE || !self.register => {
                        let fits = self.fitting(role, &named.name, parts);
                        let name = named.name.clone();
                        self.fault(path, WhyNot::Unknown { role, name, fits });
                    }
                    // Its fault was told when it could not be registered.
                    None => {}
                }
            }
        }
        Ok(())
    }

    async fn known(&self, role: Role, names: &BTreeSet<&str>) -> Result<HashMap<String, Known>> {
        let names: Vec<&str> = names.iter().copied().collect();
        let rows = features::by_names_shared(self.txn, self.scope, role.code(), &names).await?;
        let mut by_name: HashMap<String, Vec<FeatureRow>> = HashMap::new();
        for row in rows {
            by_name.entry(row.name.clone()).or_default().push(row);
        }
        let own = by_name
            .into_values()
            .filter_map(|rows| own_first(rows, self.scope, |row| row.space_id));
        let rows: Vec<FeatureRow> = own.collect();
        known(self.txn, rows).await
    }

    fn fitting(&self, role: Role, name: &str, parts: &Parts<'_>) -> Option<Dtype> {
        let values: Vec<Value> = parts
            .iter()
            .flat_map(|(_, part)| named(part, role))
            .filter(|named| named.name == name)
            .flat_map(|named| named.values.iter().cloned())
            .collect();
        common_dtype(&values, &text_item(role))
    }

    async fn register_feature(&mut self, role: Role, name: &str, parts: &Parts<'_>) -> Result<Option<Known>> {
        let wanted = parts
            .iter()
            .enumerate()
            .filter(|(number, _)| *number != REMOVE)
            .flat_map(|(_, (part_name, part))| {
                let named = named(part, role).iter().enumerate();
                named.map(move |(place, named)| (format!("{part_name}.{}s[{place}]", role.as_str()), named))
            });
        let wanted = wanted
            .filter(|(_, named)| named.name == name)
            .map(|(path, _)| path)
            .next();
        let (true, Some(path)) = (self.register, wanted) else {
            return Ok(None);
        };
        let Some(dtype) = self.fitting(role, name, parts) else {
            let (name, fits) = (name.to_owned(), None);
            self.fault(path, WhyNot::Unknown { role, name, fits });
            return Ok(None);
        };
        let parsed: Name = match name.parse() {
            Ok(parsed) => parsed,
            Err(refused) => {
                let name = name.chars().take(64).collect();
                self.fault(path, WhyNot::BadName { name, refused });
                return Ok(None);
            }
        };
        let new = NewFeature {
            role,
            name: parsed,
            dtype: dtype.clone(),
            unit: None,
            description: None,
            synonyms: Synonyms::default(),
            allow_existing: true,
            request: None,
        };
        let stored = match insert(self.txn, self.caller, self.scope, &new).await {
            Ok(stored) => stored,
            Err(RegistryError::Missing { name, .. }) => {
                self.fault(path, WhyNot::NoRegistry(name));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.resolution.registered.features.push(name.to_owned());
        Ok(known(self.txn, vec![stored.row]).await?.into_values().next())
    }

    fn fit_values(&mut self, part: usize, path: &str, known: &Known, named: &NamedValues) {
        self.resolution.names.insert(named.name.clone());
        if named.values.is_empty() && part == 2 {
            self.fault(path.to_owned(), WhyNot::NoValue(named.name.clone()));
            return;
        }
        let place = self.resolution.parts[part].len();
        self.resolution.parts[part].push(Resolved {
            feature_id: Some(known.row.id),
            is_categorical: known.dtype.is_categorical(),
            values: Vec::new(),
        });
        for (number, value) in named.values.iter().enumerate() {
            let path = format!("{path}.values[{number}]");
            match fit(value, &known.dtype) {
                Ok(fitted) => self.keep(part, place, &path, known, fitted),
                Err(misfit) => {
                    let name = named.name.clone();
                    self.fault(path, WhyNot::Misfit { name, misfit });
                }
            }
        }
    }

    fn keep(&mut self, part: usize, place: usize, path: &str, known: &Known, fitted: Vec<Fitted>) {
        for fitted in fitted {
            let labels = match fitted {
                Fitted::Plain(plain) => {
                    self.resolution.parts[part][place].values.push(Kept::Plain(plain));
                    continue;
                }
                Fitted::List(items) => {
                    self.resolution.parts[part][place].values.push(Kept::List(items));
                    continue;
                }
                Fitted::Label(label) => vec![label],
                Fitted::Labels(labels) => labels,
            };
            for label in labels {
                self.want(part, place, path.to_owned(), label, known.registries.clone());
            }
        }
    }

    fn want(&mut self, part: usize, place: usize, path: String, label: LabelName, registries: Vec<RegistryRow>) {
        self.slots.push(Slot {
            part,
            place,
            path,
            is_registered_when_missing: self.register && part != REMOVE,
        });
        self.wanted.push(Wanted { label, registries });
    }

    /// Labels that no feature holds: of the registry that they name, or of that which every server has.
    async fn plain_labels(&mut self, parts: &Parts<'_>) -> Result<()> {
        let names: BTreeSet<&str> = parts
            .iter()
            .flat_map(|(_, part)| &part.labels)
            .map(|label| {
                label
                    .registry
                    .as_ref()
                    .map_or(RegistryName::ULABEL, RegistryName::as_str)
            })
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = names.into_iter().collect();
        let rows = labels::registries_by_names(self.txn, self.scope, &names).await?;
        let mut registries: BTreeMap<&str, RegistryRow> = BTreeMap::new();
        for name in names {
            let named = rows.iter().filter(|row| row.name == name).cloned().collect();
            registries.extend(own_first(named, self.scope, |row: &RegistryRow| row.space_id).map(|row| (name, row)));
        }
        for (number, (part_name, part)) in parts.iter().enumerate() {
            if part.labels.is_empty() {
                continue;
            }
            let slot = self.resolution.parts[number].len();
            self.resolution.parts[number].push(Resolved {
                feature_id: None,
                is_categorical: true,
                values: Vec::new(),
            });
            for (place, label) in part.labels.iter().enumerate() {
                let path = format!("{part_name}.labels[{place}]");
                let name = label
                    .registry
                    .as_ref()
                    .map_or(RegistryName::ULABEL, RegistryName::as_str);
                match registries.get(name) {
                    Some(registry) => self.want(number, slot, path, label.clone(), vec![registry.clone()]),
                    None => self.fault(path, WhyNot::NoRegistry(name.to_owned())),
                }
            }
        }
        Ok(())
    }

    async fn find_labels(&mut self) -> Result<()> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let mut found = find_all(self.txn, self.scope, &self.wanted).await?;
        self.register_labels(&mut found).await?;
        let slots = std::mem::take(&mut self.slots);
        let wanted = std::mem::take(&mut self.wanted);
        for ((slot, wanted), row) in slots.into_iter().zip(wanted).zip(found) {
            let Some(row) = row else {
                let registries: Vec<&str> = wanted.registries.iter().map(|row| row.name.as_str()).collect();
                let (label, registries) = (wanted.label.to_string(), registries.join(", "));
                self.fault(slot.path, WhyNot::NoLabel { label, registries });
                continue;
            };
            self.resolution.label_names.insert(row.name.clone());
            let values = &mut self.resolution.parts[slot.part][slot.place].values;
            let kept = Kept::Label(row.id);
            if !values.contains(&kept) {
                values.push(kept);
            }
        }
        Ok(())
    }

    /// Adds labels that are missing and can be: those that are named by a name.
    async fn register_labels(&mut self, found: &mut [Option<LabelRow>]) -> Result<()> {
        let mut new: BTreeMap<i64, (RegistryRow, BTreeMap<String, Vec<usize>>)> = BTreeMap::new();
        for (number, (slot, wanted)) in self.slots.iter().zip(&self.wanted).enumerate() {
            let LabelBy::Name(name) = &wanted.label.by else {
                continue;
            };
            if found[number].is_some() || !slot.is_registered_when_missing {
                continue;
            }
            let named = wanted.label.registry.as_ref();
            let mut registries = wanted.registries.iter();
            let registry = registries.find(|row| named.is_none_or(|name| name.as_str() == row.name));
            if let Some(registry) = registry {
                let (_, names) = new
                    .entry(registry.id)
                    .or_insert_with(|| (registry.clone(), BTreeMap::new()));
                names.entry(name.clone()).or_default().push(number);
            }
        }
        for (registry, names) in new.into_values() {
            let mut parsed: Vec<Name> = Vec::new();
            for (name, numbers) in &names {
                match name.parse() {
                    Ok(name) => parsed.push(name),
                    Err(refused) => {
                        let path = self.slots[numbers[0]].path.clone();
                        let name = name.chars().take(64).collect();
                        self.fault(path, WhyNot::BadName { name, refused });
                    }
                }
            }
            // Nothing is written when the call is refused anyway.
            if !self.faults.is_empty() {
                continue;
            }
            for row in insert_names(self.txn, self.caller, self.scope, &registry, &parsed).await? {
                self.resolution.registered.labels.push(row.name.clone());
                for number in names.get(&row.name).into_iter().flatten() {
                    found[*number] = Some(row.clone());
                }
            }
        }
        Ok(())
    }
}

/// Features with their dtypes and registries, by name.
async fn known(txn: &Txn, rows: Vec<FeatureRow>) -> Result<HashMap<String, Known>> {
    let mut registries: HashMap<i64, RegistryRow> = HashMap::new();
    let mut of: HashMap<i64, Vec<i64>> = HashMap::new();
    let mut known = HashMap::new();
    let mut categorical = Vec::new();
    for row in &rows {
        if row.dtype()?.is_categorical() {
            categorical.push(row.id);
        }
    }
    if !categorical.is_empty() {
        for (feature_id, registry_id) in labels::registries_of_features(txn, &categorical).await? {
            of.entry(feature_id).or_default().push(registry_id);
        }
        let mut ids: Vec<i64> = of.values().flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let rows = labels::registries_by_ids(txn, &ids).await?;
        registries.extend(rows.into_iter().map(|row| (row.id, row)));
    }
    for row in rows {
        let dtype = row.dtype()?;
        let mine: Vec<RegistryRow> = of
            .get(&row.id)
            .into_iter()
            .flatten()
            .filter_map(|id| registries.get(id).cloned())
            .collect();
        // In the order in which the dtype names them.
        let ordered = dtype
            .registries()
            .iter()
            .filter_map(|name| mine.iter().find(|row| row.name == name.as_str()));
        let registries = ordered.cloned().collect();
        known.insert(row.name.clone(), Known { row, dtype, registries });
    }
    Ok(known)
}
