use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use gatehouse_proto::config::v1::{Resource, Service, resource::Kind};
use prost::Message;
use tempfile::TempDir;

use super::{
    StateFile,
    format::{self, Header},
};
use crate::{
    kept::{Kept, Noted},
    observe::metrics::Metrics,
};

fn resource(name: &str) -> Resource {
    Resource { name: name.into(), version: vec![1], kind: Some(Kind::Service(Service::default())) }
}

fn state(folder: &TempDir, gateway: &str) -> StateFile {
    StateFile::new(folder.path().to_owned(), gateway.into(), Arc::new(Metrics::default()))
}

fn kept(names: &[&str]) -> Kept {
    let kept = Kept::default();
    settle(&kept, names);
    kept
}

fn settle(kept: &Kept, names: &[&str]) {
    let upserts: Vec<_> = names.iter().map(|name| resource(name)).collect();
    kept.settle(Noted::whole(&upserts, &[]), &[]);
}

#[tokio::test]
async fn what_was_written_is_read_and_only_its_owner_may() {
    let folder = tempfile::tempdir().unwrap();
    let file = state(&folder, "shop/edge");
    assert!(file.load().await.is_none());
    assert_eq!(file.metrics.state_files_ignored.get(), 0, "an empty disk is nothing odd");

    // Left behind by a process that was killed.
    fs::write(folder.path().join("state.tmp"), "half").unwrap();
    fs::set_permissions(folder.path().join("state.tmp"), fs::Permissions::from_mode(0o644)).unwrap();
    file.write(&kept(&["route/a", "route/b"])).unwrap();
    let loaded = file.load().await.unwrap();
    let resources = loaded.resources.into_iter().map(|bytes| Resource::decode(bytes).unwrap());
    assert_eq!(resources.collect::<Vec<_>>(), [resource("route/a"), resource("route/b")]);
    assert!(loaded.exact && loaded.age < Duration::from_secs(60));
    assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    file.write(&kept(&[])).unwrap();
    assert!(file.load().await.unwrap().resources.is_empty(), "an empty state is a state");
}

#[tokio::test]
async fn what_can_not_be_trusted_is_ignored_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = state(&folder, "shop/edge");
    file.write(&kept(&["route/a", "route/b"])).unwrap();
    let good = fs::read(file.path()).unwrap();
    let mut ignored = 0;
    let mut foreign: Vec<Vec<u8>> = (0..good.len()).map(|length| good[..length].to_vec()).collect();
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1;
        foreign.push(bad);
    }
    foreign.push([&good[..], b"\0"].concat());
    for bytes in foreign {
        fs::write(file.path(), bytes).unwrap();
        assert!(file.load().await.is_none());
        ignored += 1;
        assert_eq!(file.metrics.state_files_ignored.get(), ignored);
    }
    fs::write(file.path(), good).unwrap();
    assert!(state(&folder, "shop/other").load().await.is_none(), "of another Gateway");
    assert!(file.load().await.is_some());
}

#[test]
fn a_state_of_another_version_is_not_exact() {
    let folder = tempfile::tempdir().unwrap();
    let file = state(&folder, "shop/edge");
    let resources = [Bytes::from(resource("route/a").encode_to_vec())];
    let header = Header { build: "another".into(), ..Header::new("shop/edge", SystemTime::now()) };
    let (mut bytes, parts) = format::encode(&header, &resources);
    for (length, part) in parts {
        bytes.extend(length);
        bytes.extend_from_slice(part);
    }
    fs::write(file.path(), bytes).unwrap();
    let loaded = file.read().unwrap().unwrap();
    assert_eq!((loaded.resources.len(), loaded.exact), (1, false));
}

#[tokio::test(start_paused = true)]
async fn changes_are_followed_and_failures_counted_until_they_heal() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("later");
    let metrics = Arc::new(Metrics::default());
    let file = StateFile::new(directory.clone(), "shop/edge".into(), Arc::clone(&metrics));
    let kept = Arc::new(kept(&["route/a"]));
    let following = tokio::spawn(file.clone().follow(Arc::clone(&kept)));
    settle(&kept, &["route/b"]);
    while metrics.state_write_failures.get() < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fs::create_dir(&directory).unwrap();
    while !file.path().exists() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(file.load().await.unwrap().resources.len(), 2);
    following.abort();
}
