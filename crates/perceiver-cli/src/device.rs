//! Devices by name.

use anyhow::{Result, anyhow, bail};
use burn::tensor::{Device, DeviceType};

use crate::output::without_panic;

/// Every backend by the name of its feature, and if this build has it.
const BACKENDS: [(&str, bool); 9] = [
    ("flex", cfg!(feature = "flex")),
    ("ndarray", cfg!(feature = "ndarray")),
    ("wgpu", cfg!(feature = "wgpu")),
    ("vulkan", cfg!(feature = "vulkan")),
    ("metal", cfg!(feature = "metal")),
    ("webgpu", cfg!(feature = "webgpu")),
    ("cuda", cfg!(feature = "cuda")),
    ("rocm", cfg!(feature = "rocm")),
    ("cpu", cfg!(feature = "cpu")),
];

/// The first backend of this build.
pub(crate) const DEFAULT: &str = {
    let mut i = 0;
    while i < BACKENDS.len() - 1 && !BACKENDS[i].1 {
        i += 1;
    }
    BACKENDS[i].0
};

/// An open device.
#[derive(Debug)]
pub(crate) struct OpenDevice {
    pub(crate) device: Device,
    /// Its description for messages.
    pub(crate) description: String,
}

/// Opens the device called `name`, such as `flex` or `wgpu:0`.
pub(crate) fn open(name: &str) -> Result<OpenDevice> {
    let (backend, index) = match name.split_once(':') {
        None => (name, None),
        Some((backend, index)) => {
            let index: usize = index.parse().map_err(|_| {
                anyhow!("device {name}: the index is {index:?}, expected a number as in wgpu:0")
            })?;
            (backend, Some(index))
        }
    };
    match BACKENDS.iter().find(|(known, _)| *known == backend) {
        Some((_, true)) => {}
        Some((_, false)) => bail!(
            "device {name}: this build has {}; build with --features {backend} to add it",
            names(true)
        ),
        None => bail!(
            "device {name}: unknown backend, this build has {}; features add {}",
            names(true),
            names(false)
        ),
    }
    match (backend, index) {
        #[cfg(feature = "flex")]
        ("flex", None) => {
            let threads = start_threads()?;
            let threads = format!("{threads} thread{}", if threads == 1 { "" } else { "s" });
            Ok(OpenDevice { device: Device::flex(), description: format!("flex, {threads}") })
        }
        #[cfg(feature = "ndarray")]
        ("ndarray", None) => {
            #[allow(deprecated, reason = "burn drops this backend with its next release, as we do")]
            let device = Device::ndarray();
            Ok(OpenDevice { device, description: "ndarray".to_owned() })
        }
        ("flex" | "ndarray", Some(_)) => bail!("device {name}: {backend} takes no index"),
        _ => {
            let Some(kind) = kind(backend) else { bail!("device {name}: not in this build") };
            let devices = enumerated(name, kind)?;
            let count = devices.len();
            match devices.into_iter().nth(index.unwrap_or(0)) {
                Some(device) => described(name, device),
                None => {
                    bail!(
                        "device {name}: this machine has {count}, expected an index below {count}"
                    )
                }
            }
        }
    }
}

/// Starts the threads that compute on the CPU, and returns their number. Left to itself, rayon would
/// panic where the system refuses one.
#[cfg(feature = "flex")]
fn start_threads() -> Result<usize> {
    use std::error::Error as _;

    use anyhow::Context as _;

    use crate::output::NO_THREAD;

    match rayon::ThreadPoolBuilder::new().build_global() {
        // Without a cause, they were started before.
        Err(error) if error.source().is_some() => Err(error).context(NO_THREAD),
        _ => Ok(rayon::current_num_threads()),
    }
}

/// Every device of this build by name, or the error if it cannot be opened or a backend has none.
pub(crate) fn all() -> Vec<(String, Result<OpenDevice>)> {
    let mut found = Vec::new();
    for (backend, _) in BACKENDS.iter().filter(|(_, built)| *built) {
        match kind(backend).map(|kind| enumerated(backend, kind)) {
            None => found.push(((*backend).to_owned(), open(backend))),
            Some(Err(error)) => found.push(((*backend).to_owned(), Err(error))),
            Some(Ok(devices)) => {
                for (index, device) in devices.into_iter().enumerate() {
                    let name = format!("{backend}:{index}");
                    let opened = described(&name, device);
                    found.push((name, opened));
                }
            }
        }
    }
    found
}

/// Names of the backends in this build.
pub(crate) fn built() -> Vec<&'static str> {
    BACKENDS.iter().filter(|(_, built)| *built).map(|(name, _)| *name).collect()
}

/// Burn's type for a backend that may have several devices.
fn kind(backend: &str) -> Option<DeviceType> {
    match backend {
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(DeviceType::Wgpu),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(DeviceType::Vulkan),
        #[cfg(feature = "metal")]
        "metal" => Some(DeviceType::Metal),
        #[cfg(feature = "webgpu")]
        "webgpu" => Some(DeviceType::WebGpu),
        #[cfg(feature = "cuda")]
        "cuda" => Some(DeviceType::Cuda),
        #[cfg(feature = "rocm")]
        "rocm" => Some(DeviceType::Rocm),
        #[cfg(feature = "cpu")]
        "cpu" => Some(DeviceType::Cpu),
        _ => None,
    }
}

/// Names of the backends that are in this build, or not in it.
fn names(built: bool) -> String {
    let names = BACKENDS.iter().filter(|(_, has)| *has == built).map(|(name, _)| *name);
    let names = names.collect::<Vec<_>>().join(", ");
    if names.is_empty() { "none".to_owned() } else { names }
}

/// All devices of a kind; an error if there are none.
fn enumerated(name: &str, kind: DeviceType) -> Result<Vec<Device>> {
    #[cfg(all(feature = "_cube", feature = "persistence"))]
    perceiver_core::keep_compiled_kernels();
    // Missing or broken drivers make the runtimes panic.
    match without_panic(|| Device::enumerate(kind).into_vec()) {
        Err(reason) => bail!("device {name}: cannot be opened: {reason}"),
        Ok(devices) if devices.is_empty() => {
            bail!("device {name}: this machine has none, or no driver for it")
        }
        Ok(devices) => Ok(devices),
    }
}

/// Opens a device to get its description.
fn described(name: &str, device: Device) -> Result<OpenDevice> {
    let identity = without_panic(|| identity(&device));
    match identity {
        Err(reason) => bail!("device {name}: cannot be opened: {reason}"),
        Ok(Some(identity)) => Ok(OpenDevice { device, description: format!("{name}, {identity}") }),
        Ok(None) => Ok(OpenDevice { device, description: name.to_owned() }),
    }
}

#[cfg(feature = "_cube")]
fn identity(device: &Device) -> Option<String> {
    device.identity().map(|identity| identity.name)
}

/// Burn can identify only CubeCL's devices.
#[cfg(not(feature = "_cube"))]
fn identity(_: &Device) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str) -> String {
        open(name).map_or_else(|error| error.to_string(), |device| device.description)
    }

    #[test]
    fn an_unknown_device_lists_what_there_is() {
        let message = message("tpu");
        assert!(message.contains("this build has") && message.contains("rocm"), "{message}");
    }

    #[test]
    fn a_backend_of_another_build_names_its_feature() {
        let absent = BACKENDS.iter().find(|(_, has)| !has);
        if let Some((name, _)) = absent {
            assert!(message(name).contains(&format!("--features {name}")));
        }
    }

    #[test]
    fn indices_are_numbers_and_only_where_there_are_several() {
        assert!(message("wgpu:x").contains("expected a number"));
        #[cfg(feature = "flex")]
        assert!(message("flex:0").contains("takes no index"));
    }

    #[test]
    fn the_default_device_opens() {
        let description = message(DEFAULT);
        assert!(description.starts_with(DEFAULT), "{description}");
    }
}
