//! The example of the record that is to be rebuilt: an iris dataset and who made it.

use crate::{
    Calls, pb,
    records::{feature, features, float, label, label_in, label_of, label_value, list, text, values},
};

/// Registers its features, and the labels of its values.
///
/// # Panics
/// When one is refused.
pub async fn register(calls: &Calls) {
    calls.create_registry("Organism").await.expect("a registry");
    let iris = calls.create_label(label_of("Organism", "iris")).await;
    iris.expect("a label");
    for name in ["Barbara McClintock", "Edgar Anderson"] {
        calls.create_label(label(name)).await.expect("a label");
    }
    for (name, dtype) in [
        ("species", "cat[Organism]"),
        ("scientist", "cat[ULabel]"),
        ("temperature", "float"),
        ("study", "str"),
    ] {
        calls.create_feature(feature(name, dtype)).await.expect("a feature");
    }
}

/// What is said of the dataset.
pub fn annotations() -> Option<pb::Annotations> {
    features(vec![
        values("species", vec![label_value(label_in("Organism", "iris"))]),
        values(
            "scientist",
            vec![list(vec![text("Barbara McClintock"), text("Edgar Anderson")])],
        ),
        values("temperature", vec![float(27.6)]),
        values("study", vec![text("Study 0: initial plant gathering")]),
    ])
}
