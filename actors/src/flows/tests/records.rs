//! Golden bytes of everything that is stored of flows: a change of any of them is a new version, not a new fixture.

use colloquy_types::{Revision, codec};

use super::super::record::{PromotionRecord, RevisionRecord, TenantRecord};

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        text.extend(line.iter().map(|byte| format!("{byte:02x}")));
        text.push('\n');
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

macro_rules! golden {
    ($test:ident, $record:ty, $value:expr, $fixture:literal) => {
        #[test]
        fn $test() {
            let record: $record = $value;
            let fixture = include_str!(concat!("../fixtures/", $fixture));
            assert_eq!(hex(&codec::encode(&record).unwrap()), fixture, "{} has changed", $fixture);
            assert_eq!(codec::decode::<$record>(&unhex(fixture)).unwrap(), record);
        }
    };
}

golden!(
    first_revision_records_keep_their_bytes,
    RevisionRecord,
    RevisionRecord::V1 { name: "desk".to_owned(), revision: Revision([6; 32]), source: "{}".to_owned() },
    "revision.v1.hex"
);
golden!(
    revision_records_keep_their_bytes,
    RevisionRecord,
    RevisionRecord::V2 {
        name: "desk".to_owned(),
        revision: Revision([6; 32]),
        source: "{}".to_owned(),
        scenarios: "scenarios: []".to_owned(),
        published_by: "ann".to_owned(),
        note: "first".to_owned(),
    },
    "revision.v2.hex"
);
golden!(
    promotion_records_keep_their_bytes,
    PromotionRecord,
    PromotionRecord::V1 {
        flow: "desk".to_owned(),
        from: Some(Revision([5; 32])),
        to: Revision([6; 32]),
        by: "bob".to_owned(),
        note: "why".to_owned(),
    },
    "promotion.v1.hex"
);
golden!(
    pause_records_keep_their_bytes,
    PromotionRecord,
    PromotionRecord::PauseV1 {
        paused: true,
        revision: Some(("desk".to_owned(), Revision([6; 32]))),
        by: "ann".to_owned(),
        reason: "why".to_owned(),
        request_id: "p-1".to_owned(),
        request_digest: [7; 16],
    },
    "pause.v1.hex"
);
golden!(
    ends_of_a_tenants_pause_keep_their_bytes,
    PromotionRecord,
    PromotionRecord::PauseV1 {
        paused: false,
        revision: None,
        by: "ann".to_owned(),
        reason: String::new(),
        request_id: "p-2".to_owned(),
        request_digest: [8; 16],
    },
    "resume.v1.hex"
);
golden!(tenant_records_keep_their_bytes, TenantRecord, TenantRecord::V1 { tenant: "acme".to_owned() }, "tenant.v1.hex");
