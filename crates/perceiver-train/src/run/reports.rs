use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use perceiver_models::temporary_prefix;
use tempfile::NamedTempFile;

use crate::report::{CARD_NAME, CURVE_NAME, LOG_NAME, Log, Record, learning_curve};
use crate::{Error, Metric, Result};

/// Opens the log to continue after the steps `reached`, and returns its lines up to there. A killed
/// run repeats the steps after its last checkpoint.
pub(super) fn open_log(path: &Path, reached: usize) -> Result<(File, Log)> {
    let mut log = if path.exists() { Log::read(path)? } else { Log::default() };
    for records in [&mut log.train, &mut log.validation] {
        records.retain(|record| record.step as usize <= reached);
    }
    let mut records: Vec<_> = log.train.iter().chain(&log.validation).collect();
    records.sort_by_key(|record| record.step);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder).map_err(Error::io(path, "write"))?;
    for record in records {
        file.as_file_mut().write_all(&record.line()).map_err(Error::io(path, "write"))?;
    }
    file.as_file().sync_all().map_err(Error::io(path, "write"))?;
    let file = file.persist(path).map_err(|error| Error::io(path, "write")(error.error))?;
    Ok((file, log))
}

/// Draws the learning curve and writes the model card. Returns the best validation of the run.
///
/// `session` holds the metrics that this session logged. The log may name others, as in a session
/// that made no step; `all` then tells their units.
pub(super) fn write_reports(
    folder: &Path,
    session: &[Metric],
    all: impl FnOnce() -> Vec<Metric>,
    card: impl FnOnce(&Record) -> Option<String>,
) -> Result<Option<Record>> {
    let mut log = Log::read(folder.join(LOG_NAME))?;
    log.describe(session);
    if log.names_metrics_beyond(session) {
        log.describe(&all());
    }
    let best = log.best().cloned();
    if !log.train.is_empty() {
        write_whole(&folder.join(CURVE_NAME), learning_curve(&log).as_bytes())?;
    }
    if let Some(page) = best.as_ref().and_then(card) {
        write_whole(&folder.join(CARD_NAME), page.as_bytes())?;
    }
    Ok(best)
}

/// Writes a file that appears only when it is complete.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut builder = tempfile::Builder::new();
    let prefix = temporary_prefix();
    builder.prefix(&prefix);
    // Temporary files are private; this one becomes as readable as any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = builder.tempfile_in(folder).map_err(Error::io(path, "write"))?;
    let written = file.as_file_mut().write_all(bytes).and_then(|()| file.as_file().sync_all());
    written.map_err(Error::io(path, "write"))?;
    file.persist(path).map_err(|error| Error::io(path, "write")(error.error))?;
    Ok(())
}
