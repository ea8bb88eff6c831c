//! The standard services and doors beside our own: health, reflection, gRPC-Web.

use std::{fs, path::Path};

use artifactd_tests::{
    Backend, TestServer,
    calls::keyed,
    pb,
    postgres::{Postgres, Stop},
    storages::root,
    wire::framed,
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

async fn health(server: &TestServer, service: &str) -> ServingStatus {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(server.calls().channel).check(request).await.unwrap();
    answer.into_inner().status()
}

#[tokio::test]
async fn health_is_serving_for_the_server_and_each_service() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        for service in ["", "artifactd.v1.ArtifactService", "artifactd.v1.ContentService"] {
            assert_eq!(
                health(&server, service).await,
                ServingStatus::Serving,
                "{service:?} on {backend:?}"
            );
        }
    }
}

#[tokio::test]
async fn health_follows_the_database() {
    let postgres = Postgres::start();
    let url = postgres.create_database().await;
    let server = TestServer::setup()
        .on(Backend::POSTGRES)
        .database_url(url)
        .start()
        .await;
    postgres.stop(Stop::Fast);
    wait_for(&server, ServingStatus::NotServing).await;
    postgres.run();
    wait_for(&server, ServingStatus::Serving).await;
}

/// Takes what a storage writes to first away, with a file in its place; and back.
fn away(storage: &Path) {
    let staging = storage.join(".artifactd/staging");
    fs::rename(&staging, staging.with_extension("away")).unwrap();
    fs::write(&staging, b"no folder").unwrap();
}

fn back(storage: &Path) {
    let staging = storage.join(".artifactd/staging");
    fs::remove_file(&staging).unwrap();
    fs::rename(staging.with_extension("away"), &staging).unwrap();
}

#[tokio::test]
async fn health_follows_default_storages_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().canonicalize().unwrap();
    let (main, other) = (real.join("main"), real.join("other"));
    fs::create_dir(&other).unwrap();
    let server = TestServer::setup()
        .storage_path(&main)
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", real.to_str().unwrap())
        .start()
        .await;
    let calls = server.calls();
    let managed = pb::RegisterStorageRequest {
        managed: true,
        ..root("other", &other)
    };
    calls.register(managed).await.unwrap();
    away(&other);
    away(&main);
    wait_for(&server, ServingStatus::NotServing).await;
    back(&main);
    // The other one is still away, and nobody minds.
    wait_for(&server, ServingStatus::Serving).await;
    calls.save(keyed("main.bin"), b"x").await.unwrap();
}

async fn wait_for(server: &TestServer, status: ServingStatus) {
    for _ in 0..300 {
        if health(server, "").await == status {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("health did not become {status:?}");
}

#[tokio::test]
async fn reflection_names_every_service_in_both_versions() {
    let server = TestServer::start().await;
    let services = [
        "artifactd.v1.ArtifactService",
        "artifactd.v1.ContentService",
        "artifactd.v1.AdminService",
    ];
    let v1 = {
        use tonic_reflection::pb::v1::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(server.calls().channel);
        let stream = client
            .server_reflection_info(futures::stream::iter([request]))
            .await
            .unwrap();
        match stream.into_inner().message().await.unwrap().unwrap().message_response {
            Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|service| service.name),
            other => panic!("{other:?}"),
        }
        .collect::<Vec<_>>()
    };
    let v1alpha = {
        use tonic_reflection::pb::v1alpha::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(server.calls().channel);
        let stream = client
            .server_reflection_info(futures::stream::iter([request]))
            .await
            .unwrap();
        match stream.into_inner().message().await.unwrap().unwrap().message_response {
            Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|service| service.name),
            other => panic!("{other:?}"),
        }
        .collect::<Vec<_>>()
    };
    for service in services {
        assert!(v1.iter().any(|name| name == service), "{service} in {v1:?}");
        assert!(v1alpha.iter().any(|name| name == service), "{service} in {v1alpha:?}");
    }
}

async fn http1(server: &TestServer, request: &[u8]) -> Vec<u8> {
    let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_browser_calls_over_grpc_web() {
    let origins = "http://localhost:3000";
    let server = TestServer::setup()
        .env("ARTIFACTD_SERVER__ALLOWED_ORIGINS", origins)
        .start()
        .await;
    server.calls().save(keyed("x.txt"), b"1").await.unwrap();
    let preflight = http1(
        &server,
        b"OPTIONS /artifactd.v1.ArtifactService/GetArtifact HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:3000\r\n\
          Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type,x-grpc-web\r\n\
          Connection: close\r\n\r\n",
    )
    .await;
    let preflight = String::from_utf8_lossy(&preflight).to_lowercase();
    let told = format!("access-control-allow-origin: {origins}\r\n");
    assert!(preflight.contains(&told), "its own origin, and not any: {preflight}");
    let artifact = Some(artifactd_tests::calls::by_key("x.txt"));
    let body = framed(
        &pb::GetArtifactRequest {
            artifact,
            include_hidden: false,
            ..Default::default()
        }
        .encode_to_vec(),
    );
    let head = format!(
        "POST /artifactd.v1.ArtifactService/GetArtifact HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost:3000\r\n\
         Content-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = http1(&server, &[head.as_bytes(), &body].concat()).await;
    let text = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(text.starts_with("http/1.1 200"), "{text}");
    assert!(
        text.contains("grpc-status:0") || text.contains("grpc-status: 0"),
        "{text}"
    );
    assert!(text.contains("x.txt"), "{text}");
}

#[tokio::test]
async fn the_server_tells_its_limits() {
    let server = TestServer::start().await;
    let info = server.calls().info().await.unwrap();
    assert!(!info.version.is_empty());
    assert_eq!(info.chunk_bytes_max, 2_000_000);
    assert_eq!(info.small_content_bytes_max, 1 << 20);
    assert_eq!(info.page_size_max, 1000);
    assert_eq!(info.default_space, "default");
    assert!(!info.default_storage.is_empty());
}

#[tokio::test]
async fn a_refused_call_carries_the_request_id_of_its_log_line() {
    use tonic_types::StatusExt;
    let server = TestServer::start().await;
    let failure = server
        .calls()
        .get(artifactd_tests::calls::by_key("missing.txt"))
        .await
        .unwrap_err();
    let id = failure
        .status
        .get_error_details()
        .request_info()
        .unwrap()
        .request_id
        .clone();
    assert!(
        server.log().contains(&id),
        "request id {id} in the log:\n{}",
        server.log()
    );
}

#[tokio::test]
async fn logs_hold_no_content() {
    let server = TestServer::start().await;
    server
        .calls()
        .save(keyed("x.txt"), b"very-private-content")
        .await
        .unwrap();
    server
        .calls()
        .read(artifactd_tests::calls::by_key("x.txt"))
        .await
        .unwrap();
    assert!(!server.log().contains("very-private-content"));
}
