//! Where the receipts of erasures go: lines of JSON in a file, or what is printed.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use colloquy_client::v1;
use serde_json::{Value, json};

use crate::{
    calls,
    output::{self, Output},
};

/// The format of a receipt's line.
const FORMAT: &str = "colloquy.erasure/v1";
/// The file of receipts in a folder.
const FILE: &str = "erased.jsonl";

/// Keeps receipts.
#[derive(Debug)]
pub(super) struct Receipts(Option<File>);

impl Receipts {
    /// Opens the file to add to, if there is to be one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let open = |path: &Path| {
            let file = if path.is_dir() { path.join(FILE) } else { path.to_path_buf() };
            OpenOptions::new().create(true).append(true).open(file)
        };
        path.map(open).transpose().map(Self)
    }

    /// Keeps a receipt durably, or prints it when no file was named.
    ///
    /// # Errors
    /// When it cannot be written; it is printed then.
    pub(super) fn keep(&mut self, receipt: &v1::ErasureReceipt, output: Output) -> io::Result<()> {
        let line = line(receipt).to_string();
        let Some(file) = &mut self.0 else {
            if output.json {
                output::line(&line);
            } else {
                output::line(&format!("erased {}, {} records", receipt.uid, receipt.records_erased));
            }
            return Ok(());
        };
        let written = file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_data());
        if written.is_err() {
            output::line(&line);
        }
        written
    }
}

fn line(receipt: &v1::ErasureReceipt) -> Value {
    let head = receipt.head.clone().unwrap_or_default();
    let backups = receipt.backups_not_covered.iter();
    json!({
        "format": FORMAT,
        "tenant": receipt.tenant,
        "uid": receipt.uid,
        "head": {
            "epoch": head.epoch,
            "turn_seq": head.turn_seq,
            "record_no": receipt.record_no,
            "hash": calls::hex(&head.hash),
        },
        "records_erased": receipt.records_erased,
        "erased_at_us": receipt.erased_at_us,
        "store": receipt.store,
        "backups_not_covered": backups
            .map(|backup| json!({ "path": backup.path, "taken_at_us": backup.taken_at_us }))
            .collect::<Vec<_>>(),
        "backups_unknown": receipt.backups_unknown,
        "reason": receipt.reason,
    })
}
