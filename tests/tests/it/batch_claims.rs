//! Many claims in one message say what each would say by itself.

use artifactd_tests::{
    Backend, Calls, Outcome, TestServer,
    calls::{by_key, keyed, saved},
    content::digest,
    folders::{Files, folder},
    pb::{self, ErrorReason, SaveOutcome},
    postgres::Postgres,
    records::{feature, features, float, int, values},
    refusal,
};

const TABLE: &[u8] = b"age,weight\n1,2.5\n";
const BYTES: &[u8] = b"some bytes";

fn claim(key: &str, content: &[u8]) -> pb::SaveHeader {
    pb::SaveHeader {
        claim: true,
        sha256: Some(digest(content)),
        size: Some(content.len() as i64),
        ..keyed(key)
    }
}

/// What the claims of this module find.
async fn fill(calls: &Calls) {
    calls.create_feature(feature("age", "int")).await.unwrap();
    for (key, content) in [("held.csv", TABLE), ("held.bin", BYTES), ("empty.bin", b"")] {
        calls.save(keyed(key), content).await.unwrap();
    }
    let files = Files::from([("a.bin".to_owned(), BYTES.into())]);
    calls.save_folder(folder("folder"), &files).await.unwrap();
}

/// Claims of all kinds: those that begin a family, and those for which there is more to decide.
fn claims() -> Vec<pb::SaveHeader> {
    let labelled = |key: &str, version: &str| pb::SaveHeader {
        version: Some(version.to_owned()),
        ..claim(key, BYTES)
    };
    let said = |key: &str, name: &str| pb::SaveHeader {
        annotations: features(vec![values(name, vec![int(7)])]),
        ..claim(key, BYTES)
    };
    let asked = |key: &str| pb::SaveHeader {
        request_id: Some(format!("request-{key}")),
        ..claim(key, TABLE)
    };
    let mut claims: Vec<_> = (0..13).map(|number| claim(&format!("t/{number}.csv"), TABLE)).collect();
    claims.extend([
        claim("same.bin", BYTES),
        claim("same.bin", BYTES),
        claim("same.bin", TABLE),
        claim("held.bin", BYTES),
        claim("held.csv", BYTES),
        claim("folder", BYTES),
        claim("folder/in/it.bin", BYTES),
        claim("unknown.bin", b"unknown"),
        claim("e/1.bin", b""),
        claim("e/2.bin", b""),
        labelled("labelled.bin", "first"),
        labelled("wrong.bin", "5"),
        said("said.bin", "age"),
        said("unsaid.bin", "nothing"),
        said("t/0.bin", "nothing"),
        claim("unsaid.bin", TABLE),
        asked("asked.csv"),
        asked("asked too.csv"),
        pb::SaveHeader {
            size: None,
            ..claim("unmeasured.bin", BYTES)
        },
        pb::SaveHeader {
            description: Some("no key, so the newest with this content".to_owned()),
            key: None,
            ..claim("", TABLE)
        },
        pb::SaveHeader {
            description: Some("hidden".to_owned()),
            visibility: pb::Visibility::Hidden.into(),
            kind: pb::ArtifactKind::Model.into(),
            file_name: Some("x.csv".to_owned()),
            media_type: Some("text/x-table".to_owned()),
            ..claim("z.csv", TABLE)
        },
    ]);
    claims
}

/// What was answered, without what differs from server to server.
async fn told(calls: &Calls, outcome: Outcome<pb::SaveArtifactResponse>) -> Vec<String> {
    let answer = match outcome {
        Err(failure) => return vec![format!("{:?}", refusal::<()>(Err(failure)))],
        Ok(answer) => answer,
    };
    let mut told = vec![format!("{:?} {:?}", answer.outcome(), answer.not_applied)];
    for uid in &answer.same_content_uids {
        let other = calls.get(artifactd_tests::calls::by_uid(uid)).await.unwrap();
        told.push(format!("as {:?} {}", other.key, other.version));
    }
    let artifact = saved(answer);
    let stored = calls.get(artifactd_tests::calls::by_uid(&artifact.uid)).await.unwrap();
    let without = |mut artifact: pb::Artifact| {
        artifact.etag = String::new();
        artifact.updated_at = None;
        artifact.is_latest = true;
        artifact
    };
    assert_eq!(
        without(artifact.clone()),
        without(stored),
        "what was answered is what is there"
    );
    let described = calls
        .describe(artifactd_tests::calls::by_uid(&artifact.uid))
        .await
        .unwrap();
    for slot in described.feature_sets {
        let names = slot.feature_set.into_iter().flat_map(|set| set.features);
        let names: Vec<_> = names.map(|feature| feature.name).collect();
        told.push(format!("{} {names:?} {:?}", slot.slot, slot.unregistered));
    }
    let pb::Artifact {
        key,
        version,
        version_number,
        hash,
        size,
        kind,
        suffix,
        file_name,
        media_type,
        visibility,
        description,
        accessor,
        n_observations,
        ..
    } = artifact;
    told.push(format!(
        "{key:?} {version} {version_number} {hash} {size} {kind} {suffix} {file_name:?} {media_type} {visibility} \
         {description:?} {accessor:?} {n_observations:?}"
    ));
    told
}

#[tokio::test]
async fn claims_of_a_batch_are_answered_like_single_ones() {
    for backend in Backend::DATABASES {
        let (server, other) = (TestServer::on(backend).await, TestServer::on(backend).await);
        let (calls, singly) = (server.calls(), other.calls());
        fill(&calls).await;
        fill(&singly).await;
        // Saves without a key come first in a batch, and the rest by their keys.
        let mut claims = claims();
        claims.sort_by(|one, other| one.key.cmp(&other.key));
        let batch = claims.iter().map(|claim| (claim.clone(), Vec::new())).collect();
        let together = calls.save_batch(batch).await.unwrap();
        let mut alone = Vec::new();
        for claim in &claims {
            alone.push(singly.save_small(claim.clone(), b"").await);
        }
        let outcomes: Vec<_> = together
            .iter()
            .map(|outcome| outcome.as_ref().map(pb::SaveArtifactResponse::outcome).ok())
            .collect();
        for outcome in [SaveOutcome::Created, SaveOutcome::NewVersion, SaveOutcome::Existing] {
            assert!(outcomes.contains(&Some(outcome)), "there are {outcome:?}");
        }
        for ((claim, together), alone) in claims.iter().zip(together).zip(alone) {
            let (together, alone) = (told(&calls, together).await, told(&singly, alone).await);
            assert_eq!(together, alone, "{:?} on {backend:?}", claim.key);
        }
        const EVENTS: &str = "SELECT count(*) FROM events";
        const PLACES: &str = "SELECT count(*) FROM events JOIN artifacts ON artifacts.uid = events.artifact_uid \
                              WHERE events.kind = 'saved'";
        const ARTIFACTS: &str = "SELECT count(*) FROM artifacts";
        const FAMILIES: &str = "SELECT count(*) FROM families";
        for count in [EVENTS, PLACES, ARTIFACTS, FAMILIES] {
            let counted = (server.query_integer(count).await, other.query_integer(count).await);
            assert_eq!(counted.0, counted.1, "{count} on {backend:?}");
        }
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_save_whose_annotations_are_refused_leaves_nothing_in_a_batch() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let unknown = pb::SaveHeader {
            annotations: features(vec![values("unknown", vec![float(1.5)])]),
            ..keyed("refused.bin")
        };
        let files = vec![
            (keyed("before.bin"), b"before".to_vec()),
            (unknown, b"refused".to_vec()),
            (keyed("after.bin"), b"after".to_vec()),
        ];
        let mut results = calls.save_batch(files).await.unwrap();
        assert_eq!(refusal(results.remove(1)), ErrorReason::AnnotationInvalid);
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(
            refusal(calls.get(by_key("refused.bin")).await),
            ErrorReason::ArtifactNotFound,
            "{backend:?}"
        );
        for table in ["artifacts", "families", "events WHERE kind = 'saved'"] {
            let count = format!("SELECT count(*) FROM {table}");
            assert_eq!(server.query_integer(&count).await, 2, "{table} on {backend:?}");
        }
        server.assert_clean();
    }
}

#[tokio::test]
async fn claims_that_come_again_under_their_request_ids_have_one_effect() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.save(keyed("held.csv"), TABLE).await.unwrap();
        let batch = || {
            let claim = |number: usize| pb::SaveHeader {
                request_id: Some(format!("request-{}", number / 2)),
                ..claim(&format!("c/{}.csv", number / 2), TABLE)
            };
            (0..20).map(|number| (claim(number), Vec::new())).collect()
        };
        let first = calls.save_batch(batch()).await.unwrap();
        let first: Vec<_> = first.into_iter().map(Result::unwrap).collect();
        assert!(first.chunks(2).all(|twice| twice[0] == twice[1]), "{backend:?}");
        let again = calls.save_batch(batch()).await.unwrap();
        let again: Vec<_> = again.into_iter().map(Result::unwrap).collect();
        assert_eq!(again, first);
        assert_eq!(server.query_integer("SELECT count(*) FROM artifacts").await, 11);
    }
}

/// What a batch costs does not grow with each of its claims, whatever they hold and however
/// they are asked for.
#[tokio::test]
async fn hundreds_of_claims_are_some_dozens_of_statements() {
    const CLAIMS: usize = 400;
    let postgres = Postgres::shared();
    let url = postgres.create_database().await;
    postgres.note_statements(&url).await;
    let server = TestServer::setup()
        .on(Backend::POSTGRES)
        .database_url(url)
        .start()
        .await;
    let calls = server.calls();
    let contents: Vec<Vec<u8>> = (0..CLAIMS).map(|number| number.to_string().into_bytes()).collect();
    let held = (0..)
        .zip(&contents)
        .map(|(number, content)| (keyed(&format!("held/{number}.bin")), content.clone()));
    let held = calls.save_batch(held.collect()).await.unwrap();
    assert!(held.iter().all(Result::is_ok));
    calls.save(keyed("held.csv"), TABLE).await.unwrap();
    let claims = |run: &str, of_one: bool| {
        let each = contents.iter().enumerate().map(|(number, content)| {
            let (ending, content) = if of_one { ("csv", TABLE) } else { ("bin", &content[..]) };
            let asked = pb::SaveHeader {
                request_id: Some(format!("{run}-{number}")),
                ..claim(&format!("{run}/{number}.{ending}"), content)
            };
            (asked, Vec::new())
        });
        each.collect::<Vec<_>>()
    };
    for (run, of_one) in [("of-many", false), ("of-one", true)] {
        let claims = claims(run, of_one);
        // What goes on beside it, such as indexing and the positions of events, is none of it.
        let of_saves = |statement: &String| {
            let inserts = statement.starts_with("INSERT INTO \"");
            let looks = ["FROM families", "FROM blobs", "FROM \"blobs\"", "content_0"];
            inserts || looks.iter().any(|look| statement.contains(look))
        };
        let before = postgres.noted_statements().len();
        let saved = calls.save_batch(claims).await.unwrap();
        assert!(saved.iter().all(|saved| {
            saved
                .as_ref()
                .is_ok_and(|saved| saved.outcome() == SaveOutcome::Created)
        }));
        let noted = postgres.noted_statements().split_off(before);
        let count = noted.iter().filter(|statement| of_saves(statement)).count();
        assert!(
            (4..60).contains(&count),
            "{count} statements for {CLAIMS} claims {run}: {noted:#?}"
        );
    }
    server.assert_clean();
}
