//! What every server has beside its own services: health (the gRPC health checking protocol), and the descriptions by
//! which grpcurl finds out what is there (gRPC server reflection, in both versions: older tools know only one).

use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_reflection::pb;
use tonic_reflection::server::Builder;

/// What [`common`] adds, by full names.
const OWN: [&str; 3] = [
    tonic_health::pb::health_server::SERVICE_NAME,
    pb::v1::server_reflection_server::SERVICE_NAME,
    pb::v1alpha::server_reflection_server::SERVICE_NAME,
];

/// Why the services cannot be described.
#[derive(Debug, thiserror::Error)]
#[error("cannot describe the services for grpcurl (gRPC reflection)")]
pub struct DescribeError(#[from] tonic_reflection::server::Error);

/// Health and reflection of a server that also has the services `served`, by full names; `described` is the compiled
/// descriptor set that has them. To be called within a runtime.
///
/// Health answers for the server (the empty name) and for each service alone. Reflection lists only what is served: the
/// descriptors tell of the services of every program, and another one would be answered by *unimplemented*.
///
/// # Errors
/// If the descriptors cannot be read.
pub async fn common(
    served: &[&'static str],
    described: &'static [u8],
) -> Result<Routes, DescribeError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for name in [""].iter().chain(served).chain(&OWN) {
        reporter
            .set_service_status(*name, ServingStatus::Serving)
            .await;
    }
    let reflection = || {
        let descriptions = Builder::configure()
            .include_reflection_service(false)
            .register_encoded_file_descriptor_set(described)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET);
        let names = served.iter().chain(&OWN);
        names.fold(descriptions, |builder, name| {
            builder.with_service_name(*name)
        })
    };
    Ok(Routes::new(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}
