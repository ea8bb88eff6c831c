//! What is served: our services, and the standard ones that every server has.

use std::{net::SocketAddr, sync::Arc};

use artifactd_proto::{
    FILE_DESCRIPTOR_SET, FLIGHT_DESCRIPTOR_SET,
    v1::{
        admin_service_server, annotation_service_server, artifact_service_server, collection_service_server,
        content_service_server, event_service_server, feature_service_server, label_service_server,
        lineage_service_server, run_service_server, schema_service_server, storage_service_server,
        transform_service_server, upload_service_server, work_service_server,
    },
};
use futures::FutureExt;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use super::{
    ServeError,
    accept::Connections,
    door::Door,
    health::{self, Dependency},
};
use crate::{
    api::{self, layer::Calls},
    config::Config,
    flight,
    master_key::MasterKey,
    registry::Registry,
};

const SERVICES: [&str; 16] = [
    artifact_service_server::SERVICE_NAME,
    content_service_server::SERVICE_NAME,
    upload_service_server::SERVICE_NAME,
    annotation_service_server::SERVICE_NAME,
    feature_service_server::SERVICE_NAME,
    label_service_server::SERVICE_NAME,
    lineage_service_server::SERVICE_NAME,
    run_service_server::SERVICE_NAME,
    schema_service_server::SERVICE_NAME,
    storage_service_server::SERVICE_NAME,
    transform_service_server::SERVICE_NAME,
    work_service_server::SERVICE_NAME,
    admin_service_server::SERVICE_NAME,
    collection_service_server::SERVICE_NAME,
    event_service_server::SERVICE_NAME,
    flight::SERVICE_NAME,
];

const DESCRIPTORS: [&[u8]; 5] = [
    FILE_DESCRIPTOR_SET,
    FLIGHT_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// Services, and what they depend on.
pub(super) struct App {
    pub(super) routes: Routes,
    pub(super) services: Vec<&'static str>,
    pub(super) dependencies: Vec<Dependency>,
}

impl App {
    /// Ours.
    pub(super) fn new(registry: &Arc<Registry>, key: &MasterKey) -> Self {
        Self {
            routes: flight::with_flight(api::routes(registry, key), registry, key),
            services: SERVICES.to_vec(),
            dependencies: dependencies(registry),
        }
    }

    /// Serves until `shutdown` completes and all connections have ended.
    pub(super) async fn serve(
        self,
        listener: TcpListener,
        config: &Config,
        ready: impl FnOnce(SocketAddr),
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let address = listener.local_addr().map_err(|source| ServeError::Listen {
            address: config.server.listen,
            source,
        })?;
        let reporter = HealthReporter::new();
        let health = health::Health::new(reporter.clone(), self.services, self.dependencies);
        health.begin().await;
        let routes = with_standard_services(self.routes, reporter)?;
        let calls = Calls::new(&DESCRIPTORS, config.limits.stream_idle_timeout)
            .expect("descriptors that were compiled in can be read");
        let door = Door::new(routes, &calls, &config.server.origins);
        let connections = Connections::new(door, config);
        ready(address);
        tokio::select! {
            () = connections.accept(listener) => {}
            () = health.keep_checking() => {}
            () = shutdown => {}
        }
        // The listener closed with the future that accepted from it.
        health.end().await;
        connections.drain(config.server.drain_timeout).await;
        Ok(())
    }
}

/// Adds health and reflection.
fn with_standard_services(routes: Routes, reporter: HealthReporter) -> Result<Routes, ServeError> {
    let health = tonic_health::server::HealthService::from_health_reporter(reporter);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(FLIGHT_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = routes
        .add_service(tonic_health::pb::health_server::HealthServer::new(health))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok(routes.prepare())
}

fn dependencies(registry: &Arc<Registry>) -> Vec<Dependency> {
    let (for_database, for_storage) = (Arc::clone(registry), Arc::clone(registry));
    let database = Dependency::new("database", move || {
        let registry = Arc::clone(&for_database);
        async move { registry.check_database().await }.boxed()
    });
    let storage = Dependency::new("storage", move || {
        let registry = Arc::clone(&for_storage);
        async move { registry.check_storage().await }.boxed()
    });
    vec![database, storage]
}
