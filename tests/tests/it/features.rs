//! Features and params: names with a dtype.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_uid, keyed, saved},
    pb::{self, ErrorReason, FeatureUpdate, UpdateFeatureRequest, value::Kind},
    records::{
        boolean, date, dict, feature, feature_named, features, float, int, label, label_named, label_value, list, mask,
        of, param, param_named, text, values,
    },
    refusal, refusal_of,
};

fn change(name: &str, paths: &[&str], update: FeatureUpdate) -> UpdateFeatureRequest {
    UpdateFeatureRequest {
        feature: feature_named(name),
        update: Some(update),
        update_mask: mask(paths),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_feature_is_added_found_changed_and_deleted() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let request = pb::CreateFeatureRequest {
            unit: Some("°C".to_owned()),
            description: Some("of the room".to_owned()),
            synonyms: vec!["temp".to_owned(), "T".to_owned()],
            ..feature("temperature", "float")
        };
        let made = calls.create_feature(request).await.unwrap();
        assert_eq!(
            (made.uid.len(), made.dtype.as_str(), made.space.as_str()),
            (16, "float", "default")
        );
        assert_eq!(made.synonyms, ["T", "temp"]);
        assert_eq!(made.role(), pb::FeatureRole::Feature);
        assert_eq!(calls.get_feature(feature_named("temperature")).await.unwrap(), made);
        let by_uid = pb::FeatureRef {
            r#ref: Some(pb::feature_ref::Ref::Uid(made.uid.clone())),
            role: 0,
        };
        assert_eq!(calls.get_feature(Some(by_uid)).await.unwrap(), made);
        let update = FeatureUpdate {
            name: "room temperature".to_owned(),
            ..Default::default()
        };
        let renamed = calls
            .update_feature(change("temperature", &["name", "unit", "synonyms"], update))
            .await
            .unwrap();
        assert_eq!(
            (renamed.uid.as_str(), renamed.unit.as_deref()),
            (made.uid.as_str(), None)
        );
        assert!(renamed.synonyms.is_empty() && renamed.description == made.description);
        assert_ne!(renamed.etag, made.etag);
        assert_eq!(
            refusal(calls.get_feature(feature_named("temperature")).await),
            ErrorReason::FeatureNotFound
        );
        calls.delete_feature(feature_named("room temperature")).await.unwrap();
        assert_eq!(
            refusal(calls.delete_feature(feature_named("room temperature")).await),
            ErrorReason::FeatureNotFound
        );
    }
}

#[tokio::test]
async fn features_and_params_have_names_of_their_own() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.create_feature(feature("x", "int")).await.unwrap();
    calls.create_feature(param("x", "float")).await.unwrap();
    assert_eq!(calls.get_feature(feature_named("x")).await.unwrap().dtype, "int");
    assert_eq!(calls.get_feature(param_named("x")).await.unwrap().dtype, "float");
}

#[tokio::test]
async fn a_name_is_taken_once_and_the_same_may_be_allowed() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let made = calls.create_feature(feature("x", "int")).await.unwrap();
        let taken = calls.create_feature(feature("x", "int")).await;
        assert_eq!(refusal(taken), ErrorReason::NameTaken, "{backend:?}");
        let again = pb::CreateFeatureRequest {
            allow_existing: true,
            ..feature("x", "int")
        };
        assert_eq!(calls.create_feature(again.clone()).await.unwrap(), made);
        let other = pb::CreateFeatureRequest {
            dtype: "float".to_owned(),
            ..again
        };
        assert_eq!(refusal(calls.create_feature(other).await), ErrorReason::NameTaken);
        calls.create_feature(feature("y", "int")).await.unwrap();
        let update = FeatureUpdate {
            name: "y".to_owned(),
            ..Default::default()
        };
        assert_eq!(
            refusal(calls.update_feature(change("x", &["name"], update)).await),
            ErrorReason::NameTaken
        );
    }
}

#[tokio::test]
async fn of_many_who_add_one_name_each_gets_the_same() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let request = pb::CreateFeatureRequest {
            allow_existing: true,
            ..feature("x", "int")
        };
        let calls: Vec<_> = (0..16).map(|_| server.calls()).collect();
        let made = calls.iter().map(|calls| calls.create_feature(request.clone()));
        let made = futures::future::join_all(made).await;
        let first = made[0].as_ref().unwrap().uid.clone();
        assert!(
            made.iter().all(|made| made.as_ref().unwrap().uid == first),
            "{backend:?}"
        );
    }
}

#[tokio::test]
async fn a_repeated_request_has_the_effect_of_one() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let request = pb::CreateFeatureRequest {
        request_id: Some("one".to_owned()),
        ..feature("x", "int")
    };
    let made = calls.create_feature(request.clone()).await.unwrap();
    assert_eq!(calls.create_feature(request.clone()).await.unwrap(), made);
    let other = pb::CreateFeatureRequest {
        dtype: "str".to_owned(),
        ..request
    };
    assert_eq!(refusal(calls.create_feature(other).await), ErrorReason::RequestIdReused);
}

#[tokio::test]
async fn an_etag_lets_only_the_first_of_two_writers_through() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let made = calls.create_feature(feature("x", "int")).await.unwrap();
    let request = UpdateFeatureRequest {
        etag: Some(made.etag),
        ..change("x", &["description"], FeatureUpdate::default())
    };
    calls.update_feature(request.clone()).await.unwrap();
    assert_eq!(refusal(calls.update_feature(request).await), ErrorReason::EtagMismatch);
}

#[tokio::test]
async fn pages_hold_everything_once_by_name() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for name in ["b", "Z", "a", "ä", "z", "a1"] {
            calls.create_feature(feature(name, "int")).await.unwrap();
        }
        let request = pb::CreateFeatureRequest {
            synonyms: vec!["a".to_owned()],
            ..param("lr", "float")
        };
        calls.create_feature(request).await.unwrap();
        let walk = async |request: pb::ListFeaturesRequest| {
            let (mut names, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = pb::ListFeaturesRequest {
                    page_size: 2,
                    page_token,
                    ..request.clone()
                };
                let page = calls.list_features(request).await.unwrap();
                names.extend(page.features.into_iter().map(|feature| feature.name));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    return names;
                }
            }
        };
        let all = walk(pb::ListFeaturesRequest::default()).await;
        assert_eq!(all, ["Z", "a", "a1", "b", "z", "ä", "lr"], "{backend:?}");
        let params = pb::ListFeaturesRequest {
            role: pb::FeatureRole::Param.into(),
            ..Default::default()
        };
        assert_eq!(walk(params).await, ["lr"]);
        let prefix = pb::ListFeaturesRequest {
            name_prefix: "a".to_owned(),
            ..Default::default()
        };
        assert_eq!(walk(prefix.clone()).await, ["a", "a1"]);
        let called = pb::ListFeaturesRequest {
            name_or_synonym: Some("a".to_owned()),
            ..Default::default()
        };
        assert_eq!(walk(called).await, ["a", "lr"]);
        let dtype = pb::ListFeaturesRequest {
            dtype: Some("float".to_owned()),
            ..Default::default()
        };
        assert_eq!(walk(dtype).await, ["lr"]);
        let first = pb::ListFeaturesRequest { page_size: 1, ..prefix };
        let page_token = calls.list_features(first).await.unwrap().next_page_token;
        let other = pb::ListFeaturesRequest {
            page_token,
            ..Default::default()
        };
        assert_eq!(
            refusal(calls.list_features(other).await),
            ErrorReason::PageTokenMismatch
        );
    }
}

#[tokio::test]
async fn bad_features_are_refused_with_their_field() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.create_feature(feature("x", "int")).await.unwrap();
    let long = "n".repeat(256);
    for (request, reason, field) in [
        (feature("", "int"), ErrorReason::FieldInvalid, "name"),
        (feature(" x", "int"), ErrorReason::FieldInvalid, "name"),
        (feature("a\nb", "int"), ErrorReason::FieldInvalid, "name"),
        (feature(&long, "int"), ErrorReason::FieldInvalid, "name"),
        (feature("y", ""), ErrorReason::FieldInvalid, "dtype"),
        (feature("y", "number"), ErrorReason::FieldInvalid, "dtype"),
        (feature("y", "cat[ULabel|ULabel]"), ErrorReason::FieldInvalid, "dtype"),
    ] {
        let failure = calls.create_feature(request.clone()).await.unwrap_err();
        assert_eq!(failure.reason, Some(reason), "{request:?}");
        assert_eq!(failure.fields, [field], "{request:?}");
    }
    let unknown = calls.create_feature(feature("y", "cat[Tissue]")).await;
    assert_eq!(refusal(unknown), ErrorReason::LabelRegistryNotFound);
    let role = pb::CreateFeatureRequest {
        role: 9,
        ..feature("y", "int")
    };
    assert_eq!(refusal(calls.create_feature(role).await), ErrorReason::FieldInvalid);
    for (request, reason) in [
        (change("x", &[], FeatureUpdate::default()), ErrorReason::FieldRequired),
        (
            change("x", &["uid"], FeatureUpdate::default()),
            ErrorReason::FieldNotUpdatable,
        ),
        (
            change("x", &["name"], FeatureUpdate::default()),
            ErrorReason::FieldInvalid,
        ),
        (
            change("z", &["unit"], FeatureUpdate::default()),
            ErrorReason::FeatureNotFound,
        ),
    ] {
        assert_eq!(
            refusal_of(&request, calls.update_feature(request.clone()).await),
            reason
        );
    }
    assert_eq!(refusal(calls.get_feature(None).await), ErrorReason::FieldRequired);
}

#[tokio::test]
async fn a_feature_stays_while_an_artifact_has_a_value_of_it() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let one = saved(calls.save(keyed("x.csv"), b"x").await.unwrap());
        calls.create_label(label("known")).await.unwrap();
        let moment = of(Kind::DatetimeValue(prost_types::Timestamp::default()));
        for (dtype, value) in [
            ("int", int(7)),
            ("float", float(1.5)),
            ("bool", boolean(false)),
            ("str", text("x")),
            ("date", date("2024-02-29")),
            ("datetime", moment),
            ("url", text("https://example.org/x")),
            ("dict", dict(r#"{"a": 1}"#)),
            ("list[int]", list(vec![int(1), int(2)])),
            ("cat[ULabel]", label_value(label_named("known"))),
        ] {
            calls.create_feature(feature("x", dtype)).await.unwrap();
            let said = features(vec![values("x", vec![value])]);
            calls.add(by_uid(&one.uid), said.clone()).await.unwrap();
            let failure = calls.delete_feature(feature_named("x")).await.unwrap_err();
            assert_eq!(
                failure.reason,
                Some(ErrorReason::InUse),
                "{dtype} on {backend:?}: {failure}"
            );
            let says = failure.status.message();
            assert!(says.contains("values of artifacts"), "{dtype}: {says}");
            let removal = pb::AnnotateRequest {
                artifacts: vec![by_uid(&one.uid)],
                remove: said,
                ..Default::default()
            };
            calls.annotate(removal).await.unwrap();
            calls.delete_feature(feature_named("x")).await.unwrap();
        }
    }
}

/// Whoever comes first decides: a value and its feature, or neither.
#[tokio::test]
async fn a_feature_is_deleted_while_others_give_it_values() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let one = saved(calls.save(keyed("x.csv"), b"x").await.unwrap());
        for round in 0..8 {
            let name = format!("round-{round}");
            calls.create_feature(feature(&name, "int")).await.unwrap();
            let said = features(vec![values(&name, vec![int(round)])]);
            let adding = calls.add(by_uid(&one.uid), said);
            let (added, deleted) = match round % 2 {
                0 => futures::join!(adding, calls.delete_feature(feature_named(&name))),
                _ => {
                    let (deleted, added) = futures::join!(calls.delete_feature(feature_named(&name)), adding);
                    (added, deleted)
                }
            };
            let count = "SELECT count(*) FROM feature_values JOIN features ON features.id = feature_values.feature_id";
            let valued = server
                .query_integer(&format!("{count} WHERE features.name = '{name}'"))
                .await;
            match (added, deleted) {
                (Ok(_), Err(refused)) => {
                    assert_eq!(
                        (refused.reason, valued),
                        (Some(ErrorReason::InUse), 1),
                        "{backend:?}: {refused}"
                    );
                }
                (Err(refused), Ok(_)) => {
                    let reason = Some(ErrorReason::AnnotationInvalid);
                    assert_eq!((refused.reason, valued), (reason, 0), "{backend:?}: {refused}");
                }
                both => panic!("{backend:?}: {both:?}"),
            }
        }
        server.assert_clean();
    }
}
