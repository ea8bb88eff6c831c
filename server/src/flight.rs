//! Arrow Flight: parse a call, ask the registry, translate the answer.
//!
//! There is one service for everything that Flight carries. What a descriptor or a ticket
//! is for, its type says; today that are tables. As in `api`, there are no rules and no
//! queries here.

mod actions;
mod descriptor;
mod frames;
mod get;
mod info;
mod put;
mod running;
mod service;
mod ticket;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use artifactd_proto::aside::ServerAside;
use tonic::{Request, Status, service::Routes};

use self::{running::Running, ticket::Tickets};
use crate::{
    api,
    master_key::MasterKey,
    registry::{Caller, Registry},
};

/// The name of the service.
pub(crate) const SERVICE_NAME: &str = "arrow.flight.protocol.FlightService";

/// Largest message that is read, but for those of a DoPut.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the calls share.
#[derive(Debug, Clone)]
struct Flight {
    registry: Arc<Registry>,
    tickets: Arc<Tickets>,
    running: Arc<Running>,
}

/// Adds the service.
pub(crate) fn with_flight(routes: Routes, registry: &Arc<Registry>, key: &MasterKey) -> Routes {
    let flight = Flight {
        registry: Arc::clone(registry),
        tickets: Arc::new(Tickets::new(key)),
        running: Arc::default(),
    };
    let server = FlightServiceServer::new(flight).max_decoding_message_size(MESSAGE_BYTES_MAX);
    routes.add_service(ServerAside(server))
}

impl Flight {
    /// Who makes a call, and in which space.
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        api::caller_of(&self.registry, request.metadata(), request.extensions())
    }
}
