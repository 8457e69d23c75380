//! What a dataplane's pod finds in its file system.

use k8s_openapi::{
    api::core::v1::{
        ConfigMapVolumeSource, EmptyDirVolumeSource, ProjectedVolumeSource, ServiceAccountTokenProjection,
        Volume, VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use crate::provision::{TOKEN_AUDIENCE, identity::Identity};

/// Folder of the certificates that the channel is trusted by.
pub(super) const CA: &str = "/etc/gatehouse/ca";
/// Folder of the token that the dataplane proves itself by.
pub(super) const TOKEN: &str = "/var/run/secrets/gatehouse";
/// Folder of the last good state.
pub(super) const STATE: &str = "/var/lib/gatehouse";

pub(super) fn volumes(identity: &Identity) -> Vec<Volume> {
    let token = ServiceAccountTokenProjection {
        audience: Some(TOKEN_AUDIENCE.to_owned()),
        expiration_seconds: Some(3600),
        path: "token".to_owned(),
    };
    vec![
        Volume {
            name: "ca".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: identity.name().to_owned(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "token".to_owned(),
            projected: Some(ProjectedVolumeSource {
                sources: Some(vec![VolumeProjection {
                    service_account_token: Some(token),
                    ..VolumeProjection::default()
                }]),
                ..ProjectedVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "state".to_owned(),
            // The state has private keys, which never go to a node's disk.
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some("Memory".to_owned()),
                size_limit: Some(Quantity("256Mi".to_owned())),
            }),
            ..Volume::default()
        },
    ]
}

pub(super) fn mounts() -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    };
    vec![mount("ca", CA, true), mount("token", TOKEN, true), mount("state", STATE, false)]
}
