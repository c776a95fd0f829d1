//! A store that is taken along: its leases count only when all members have spoken (safety rule E11).

use interlock_proto::v1;
use interlock_proto::v1::store_chunk::Part;
use interlock_proto::v1::store_service_client::StoreServiceClient;

use crate::bed::Bed;
use crate::moves::two;

async fn export(bed: &Bed) -> Vec<v1::StoreChunk> {
    let mut store = StoreServiceClient::new(bed.channel());
    let exported = store.export_store(v1::ExportStoreRequest {}).await;
    let mut exported = exported.unwrap().into_inner();
    let mut chunks = Vec::new();
    while let Some(chunk) = exported.message().await.unwrap() {
        chunks.push(chunk);
    }
    chunks
}

#[tokio::test]
async fn an_imported_lease_decides_nothing_until_every_member_has_spoken() {
    let bed = Bed::new().await;
    let (holder, other) = two(&bed).await;
    let chunks = export(&bed).await;
    let keys: Vec<&str> = chunks
        .iter()
        .filter_map(|chunk| match &chunk.part {
            Some(Part::Entries(entries)) => Some(&entries.entries),
            _ => None,
        })
        .flatten()
        .map(|entry| entry.key.as_str())
        .collect();
    for key in ["/lease/db/record", "/why/db/000000000001"] {
        assert!(keys.contains(&key), "{keys:?}");
    }

    let bed = bed.successor().await;
    let mut store = StoreServiceClient::new(bed.channel());
    store
        .import_store(tokio_stream::iter(chunks))
        .await
        .unwrap();
    let other = other.again(&bed).await;
    bed.lease_is("waiting for its holder", |lease| {
        lease.epoch == 1 && lease.reason.contains("db1 has not spoken")
    })
    .await;
    assert!(!other.was_promoted());

    // The holder is still there, and what it says is written down again.
    let holder = holder.again(&bed).await;
    bed.told("lease-recorded-again", "db1 holds epoch 1").await;
    holder.renewed(&bed, 1).await;
    let lease = bed.lease_is("held", |lease| lease.reason.is_empty()).await;
    assert_eq!((lease.epoch, lease.holder.as_str()), (1, "db1"));
}
