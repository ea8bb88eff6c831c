//! Registries of labels, what stands above what, and files of labels.

use artifactd_tests::{
    Backend, Calls, TestServer,
    pb::{self, ErrorReason, ImportLabelsHeader, LabelFormat, LabelMatch, LabelUpdate, ListLabelsRequest},
    records::{feature, label, label_in, label_named, label_of, mask},
    refusal,
};

const CELLS: &str = r#"format-version: 1.2

[Term]
id: CL:0000000
name: cell
def: "A \"unit\" of life." [X]

[Term]
id: CL:0000542
name: lymphocyte
is_a: CL:0000000 ! cell

[Term]
id: CL:0000084
name: T cell
synonym: "T-cell" EXACT []
is_a: CL:0000542 ! lymphocyte

[Term]
id: CL:0000236
name: B cell
is_a: CL:0000542 ! lymphocyte

[Term]
id: CL:0000001
name: old cell
is_obsolete: true
"#;

fn names(page: pb::ListLabelsResponse) -> Vec<String> {
    page.labels.into_iter().map(|label| label.name).collect()
}

fn parents(label: &pb::Label) -> Vec<&str> {
    label
        .parents
        .iter()
        .filter_map(|parent| parent.name.as_deref())
        .collect()
}

fn import(registry: &str, format: LabelFormat) -> ImportLabelsHeader {
    ImportLabelsHeader {
        registry: registry.to_owned(),
        format: format.into(),
        ..Default::default()
    }
}

async fn below(calls: &Calls, registry: &str, ancestor: &str) -> Vec<String> {
    let request = ListLabelsRequest {
        registry: Some(registry.to_owned()),
        ancestor: Some(label_named(ancestor)),
        ..Default::default()
    };
    names(calls.list_labels(request).await.unwrap())
}

#[tokio::test]
async fn a_label_is_added_found_changed_and_deleted() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        assert_eq!(calls.get_registry("ULabel").await.unwrap().space, "default");
        let registry = calls.create_registry("CellType").await.unwrap();
        assert_eq!(calls.get_registry("CellType").await.unwrap(), registry);
        assert_eq!(refusal(calls.create_registry("CellType").await), ErrorReason::NameTaken);
        let request = pb::CreateLabelRequest {
            ontology_id: Some("CL:0000084".to_owned()),
            abbreviation: Some("T".to_owned()),
            reference: Some("https://example.org/T".to_owned()),
            synonyms: vec!["T-cell".to_owned()],
            ..label_of("CellType", "T cell")
        };
        let made = calls.create_label(request).await.unwrap();
        assert_eq!((made.registry.as_str(), made.uid.len()), ("CellType", 16));
        for name in [
            label_in("CellType", "T cell"),
            pb::LabelName {
                uid: Some(made.uid.clone()),
                ..Default::default()
            },
            pb::LabelName {
                registry: Some("CellType".to_owned()),
                ontology_id: Some("CL:0000084".to_owned()),
                ..Default::default()
            },
        ] {
            assert_eq!(calls.get_label(name).await.unwrap(), made, "{backend:?}");
        }
        assert_eq!(
            refusal(calls.get_label(label_named("T cell")).await),
            ErrorReason::LabelNotFound
        );
        let taken = calls.create_label(label_of("CellType", "T cell")).await;
        assert_eq!(refusal(taken), ErrorReason::NameTaken);
        let same_id = pb::CreateLabelRequest {
            ontology_id: Some("CL:0000084".to_owned()),
            ..label_of("CellType", "other")
        };
        assert_eq!(refusal(calls.create_label(same_id).await), ErrorReason::NameTaken);
        let request = pb::UpdateLabelRequest {
            label: Some(label_in("CellType", "T cell")),
            update: Some(LabelUpdate {
                name: "T lymphocyte".to_owned(),
                description: Some("a cell".to_owned()),
                ..Default::default()
            }),
            update_mask: mask(&["name", "description", "synonyms"]),
            etag: Some(made.etag.clone()),
            ..Default::default()
        };
        let changed = calls.update_label(request.clone()).await.unwrap();
        assert_eq!((changed.name.as_str(), changed.synonyms.len()), ("T lymphocyte", 0));
        assert_eq!(changed.ontology_id, made.ontology_id);
        assert_eq!(refusal(calls.update_label(request).await), ErrorReason::LabelNotFound);
        assert_eq!(refusal(calls.delete_registry("CellType").await), ErrorReason::InUse);
        calls.delete_label(label_in("CellType", "T lymphocyte")).await.unwrap();
        calls.delete_registry("CellType").await.unwrap();
        assert_eq!(
            refusal(calls.get_registry("CellType").await),
            ErrorReason::LabelRegistryNotFound
        );
        assert_eq!(refusal(calls.delete_registry("ULabel").await), ErrorReason::InUse);
    }
}

#[tokio::test]
async fn a_label_never_stands_below_itself() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for name in ["a", "b", "c", "d"] {
            calls.create_label(label(name)).await.unwrap();
        }
        let above = |names: &[&str]| names.iter().map(|name| label_named(name)).collect::<Vec<_>>();
        calls.set_parents(label_named("a"), above(&["b", "c"])).await.unwrap();
        calls.set_parents(label_named("b"), above(&["d"])).await.unwrap();
        calls.set_parents(label_named("c"), above(&["d"])).await.unwrap();
        for (name, parents) in [("d", "a"), ("d", "b"), ("a", "a"), ("b", "a")] {
            let outcome = calls.set_parents(label_named(name), above(&[parents])).await;
            assert_eq!(
                refusal(outcome),
                ErrorReason::LabelCycle,
                "{parents} above {name} on {backend:?}"
            );
        }
        assert_eq!(below(&calls, "ULabel", "d").await, ["a", "b", "c"]);
        let above_a = ListLabelsRequest {
            registry: Some("ULabel".to_owned()),
            descendant: Some(label_named("a")),
            ..Default::default()
        };
        assert_eq!(names(calls.list_labels(above_a).await.unwrap()), ["b", "c", "d"]);
        assert_eq!(refusal(calls.delete_label(label_named("d")).await), ErrorReason::InUse);
        assert_eq!(
            refusal(calls.set_parents(label_named("a"), above(&["x"])).await),
            ErrorReason::LabelNotFound
        );
    }
}

#[tokio::test]
async fn two_who_close_a_circle_together_do_not() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for round in 0..5 {
            let (one, other) = (format!("one {round}"), format!("other {round}"));
            calls.create_label(label(&one)).await.unwrap();
            calls.create_label(label(&other)).await.unwrap();
            let second = server.calls();
            let outcomes = tokio::join!(
                calls.set_parents(label_named(&one), vec![label_named(&other)]),
                second.set_parents(label_named(&other), vec![label_named(&one)]),
            );
            let refused: Vec<_> = [outcomes.0, outcomes.1].into_iter().filter_map(Result::err).collect();
            assert_eq!(refused.len(), 1, "{backend:?}");
            assert_eq!(refused[0].reason, Some(ErrorReason::LabelCycle));
        }
    }
}

#[tokio::test]
async fn an_ontology_comes_in_whole_and_again_without_harm() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_registry("CellType").await.unwrap();
        let header = import("CellType", LabelFormat::Obo);
        let dry = ImportLabelsHeader {
            validate_only: true,
            ..header.clone()
        };
        let would = calls.import_labels(dry, CELLS).await.unwrap();
        assert_eq!((would.created, would.skipped), (4, 1));
        assert_eq!(
            refusal(calls.get_label(label_in("CellType", "cell")).await),
            ErrorReason::LabelNotFound
        );
        let did = calls.import_labels(header.clone(), CELLS).await.unwrap();
        assert_eq!(did, would, "{backend:?}");
        let t_cell = calls.get_label(label_in("CellType", "T cell")).await.unwrap();
        assert_eq!(parents(&t_cell), ["lymphocyte"]);
        assert_eq!(t_cell.synonyms, ["T-cell"]);
        let cell = calls.get_label(label_in("CellType", "cell")).await.unwrap();
        assert_eq!(cell.description.as_deref(), Some("A \"unit\" of life."));
        assert_eq!(
            below(&calls, "CellType", "cell").await,
            ["B cell", "T cell", "lymphocyte"]
        );
        let again = calls.import_labels(header.clone(), CELLS).await.unwrap();
        assert_eq!((again.created, again.updated, again.unchanged), (0, 0, 4));
        let renamed = CELLS.replace("name: T cell", "name: T lymphocyte");
        let update = ImportLabelsHeader {
            update_existing: true,
            ..header
        };
        let updated = calls.import_labels(update, &renamed).await.unwrap();
        assert_eq!((updated.created, updated.updated), (0, 4));
        let renamed = calls.get_label(label_in("CellType", "T lymphocyte")).await.unwrap();
        assert_eq!(renamed.uid, t_cell.uid);
        assert_eq!(parents(&renamed), ["lymphocyte"]);
    }
}

#[tokio::test]
async fn tables_come_in_with_their_parents() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.create_label(label("organism")).await.unwrap();
    let table = "name,ontology_id,synonyms,parents\n\
         mammal,,,organism\n\
         human,NCBITaxon:9606,\"Homo sapiens|man, the\",mammal\n";
    let did = calls
        .import_labels(import("ULabel", LabelFormat::Csv), table)
        .await
        .unwrap();
    assert_eq!(did.created, 2);
    let human = calls.get_label(label_named("human")).await.unwrap();
    assert_eq!(human.synonyms, ["Homo sapiens", "man, the"]);
    assert_eq!(below(&calls, "ULabel", "organism").await, ["human", "mammal"]);
    let tabs = "name\tparents\ncat\tmammal\n";
    let did = calls
        .import_labels(import("ULabel", LabelFormat::Tsv), tabs)
        .await
        .unwrap();
    assert_eq!(did.created, 1);
}

#[tokio::test]
async fn a_fault_in_a_file_is_named_with_its_line_and_nothing_is_written() {
    let server = TestServer::start().await;
    let calls = server.calls();
    for (file, expected) in [
        ("name,parents\na,\nb,c\n", "line 3"),
        ("name\na\na\n", "line 3"),
        ("names\na\n", "column"),
        ("name\n\"a\n", "line 2"),
        ("name,parents\na\n", "line 2"),
        ("", "line 1"),
    ] {
        let failure = calls
            .import_labels(import("ULabel", LabelFormat::Csv), file)
            .await
            .unwrap_err();
        assert_eq!(failure.reason, Some(ErrorReason::FieldInvalid), "{file:?}");
        assert!(failure.status.message().contains(expected), "{file:?}: {failure}");
    }
    let circle = "name,parents\na,b\nb,c\nc,a\n";
    let outcome = calls.import_labels(import("ULabel", LabelFormat::Csv), circle).await;
    assert_eq!(refusal(outcome), ErrorReason::LabelCycle);
    let missing = calls
        .import_labels(import("Tissue", LabelFormat::Csv), "name\na\n")
        .await;
    assert_eq!(refusal(missing), ErrorReason::LabelRegistryNotFound);
    let format = import("ULabel", LabelFormat::Unspecified);
    assert_eq!(
        refusal(calls.import_labels(format, "name\na\n").await),
        ErrorReason::FieldRequired
    );
    assert_eq!(server.query_integer("SELECT count(*) FROM labels").await, 0);
}

#[tokio::test]
async fn texts_are_told_which_label_they_mean() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.create_registry("CellType").await.unwrap();
        calls
            .import_labels(import("CellType", LabelFormat::Obo), CELLS)
            .await
            .unwrap();
        for name in ["one", "two"] {
            let request = pb::CreateLabelRequest {
                synonyms: vec!["both".to_owned()],
                ..label_of("CellType", name)
            };
            calls.create_label(request).await.unwrap();
        }
        let texts = ["T cell", "CL:0000236", "T-cell", "both", "nothing"];
        let resolved = calls.resolve_labels("CellType", &texts).await.unwrap();
        let found: Vec<_> = resolved
            .iter()
            .map(|resolved| {
                (
                    resolved.r#match(),
                    resolved.label.as_ref().and_then(|label| label.name.as_deref()),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                (LabelMatch::Name, Some("T cell")),
                (LabelMatch::OntologyId, Some("B cell")),
                (LabelMatch::Synonym, Some("T cell")),
                (LabelMatch::Ambiguous, None),
                (LabelMatch::Unspecified, None),
            ],
            "{backend:?}"
        );
    }
}

#[tokio::test]
async fn pages_hold_every_label_once_by_name() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let mut expected: Vec<String> = (0..7).map(|number| format!("label {number}")).collect();
        for name in expected.iter().rev() {
            calls.create_label(label(name)).await.unwrap();
        }
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListLabelsRequest {
                page_size: 3,
                page_token,
                name_prefix: "label".to_owned(),
                ..Default::default()
            };
            let page = calls.list_labels(request).await.unwrap();
            page_token = page.next_page_token.clone();
            found.extend(names(page));
            if page_token.is_empty() {
                break;
            }
        }
        expected.sort();
        assert_eq!(found, expected, "{backend:?}");
    }
}

#[tokio::test]
async fn a_registry_that_a_feature_names_stays() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.create_registry("Tissue").await.unwrap();
    calls
        .create_feature(feature("tissue", "cat[ULabel|Tissue]"))
        .await
        .unwrap();
    assert_eq!(refusal(calls.delete_registry("Tissue").await), ErrorReason::InUse);
    for name in ["", "a b", "a|b", "a[b]"] {
        assert_eq!(
            refusal(calls.create_registry(name).await),
            ErrorReason::FieldInvalid,
            "{name:?}"
        );
    }
}
