//! `grpc.health.v1.Health/Check`, for Envoy's and Kubernetes' health checks: serving while anything can be accepted.

use crate::Guard;
use tonic::{Request, Response, Status};
use tonic_health::{
    pb::{
        HealthCheckRequest, HealthCheckResponse,
        health_check_response::ServingStatus,
        health_server::{Health, HealthServer},
    },
    server::WatchStream,
};

/// What is asked about by name; the empty name is the guard itself.
const SERVICES: [&str; 2] = ["", "envoy.service.auth.v3.Authorization"];

pub(crate) fn service(guard: &Guard) -> HealthServer<Face> {
    HealthServer::new(Face(guard.clone()))
}

pub(crate) struct Face(Guard);

#[tonic::async_trait]
impl Health for Face {
    type WatchStream = WatchStream;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !SERVICES.contains(&request.get_ref().service.as_str()) {
            return Err(Status::not_found("there is no such service"));
        }
        let status = match self.0.ready() {
            Ok(()) => ServingStatus::Serving,
            Err(_) => ServingStatus::NotServing,
        };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    /// The protocol lets a client that is told so ask again instead.
    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<WatchStream>, Status> {
        Err(Status::unimplemented("ask with `Check`"))
    }
}
