//! Devices by name.

use anyhow::{Result, anyhow, bail};
use burn::tensor::Device;
#[cfg(any(
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal",
    feature = "webgpu",
    feature = "cuda",
    feature = "rocm",
    feature = "cpu"
))]
use burn::tensor::DeviceType;

/// Every backend by the name of its feature, with whether this build has it.
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

/// The first backend that this build has.
pub(crate) const DEFAULT: &str = {
    let mut i = 0;
    while i < BACKENDS.len() - 1 && !BACKENDS[i].1 {
        i += 1;
    }
    BACKENDS[i].0
};

/// A device that can be computed on.
#[derive(Debug)]
pub(crate) struct OpenDevice {
    pub(crate) device: Device,
    /// What it is, for people.
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
            "device {name}: this build has {}; build with --features {backend} for it",
            names(true)
        ),
        None => bail!(
            "device {name}: no such backend, this build has {}; features bring {}",
            names(true),
            names(false)
        ),
    }
    match (backend, index) {
        #[cfg(feature = "flex")]
        ("flex", None) => {
            let threads = rayon::current_num_threads();
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
        #[cfg(feature = "wgpu")]
        ("wgpu", index) => enumerated(name, index, DeviceType::Wgpu),
        #[cfg(feature = "vulkan")]
        ("vulkan", index) => enumerated(name, index, DeviceType::Vulkan),
        #[cfg(feature = "metal")]
        ("metal", index) => enumerated(name, index, DeviceType::Metal),
        #[cfg(feature = "webgpu")]
        ("webgpu", index) => enumerated(name, index, DeviceType::WebGpu),
        #[cfg(feature = "cuda")]
        ("cuda", index) => enumerated(name, index, DeviceType::Cuda),
        #[cfg(feature = "rocm")]
        ("rocm", index) => enumerated(name, index, DeviceType::Rocm),
        #[cfg(feature = "cpu")]
        ("cpu", index) => enumerated(name, index, DeviceType::Cpu),
        _ => bail!("device {name}: not in this build"),
    }
}

/// Backends that this build has, or has not.
fn names(built: bool) -> String {
    let names = BACKENDS.iter().filter(|(_, has)| *has == built).map(|(name, _)| *name);
    let names = names.collect::<Vec<_>>().join(", ");
    if names.is_empty() { "none".to_owned() } else { names }
}

/// The device of this index, the first by default, opened.
#[cfg(any(
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal",
    feature = "webgpu",
    feature = "cuda",
    feature = "rocm",
    feature = "cpu"
))]
fn enumerated(name: &str, index: Option<usize>, kind: DeviceType) -> Result<OpenDevice> {
    // Drivers that are missing or broken make the runtimes panic.
    let opened = crate::output::without_panic(|| {
        let devices = Device::enumerate(kind).into_vec();
        let count = devices.len();
        let device = devices.into_iter().nth(index.unwrap_or(0));
        let device = device.map(|device| {
            let identity = device.identity().map(|identity| identity.name);
            (device, identity)
        });
        (count, device)
    });
    match opened {
        Err(reason) => bail!("device {name}: cannot be opened: {reason}"),
        Ok((0, _)) => bail!("device {name}: this machine has none, or no driver for it"),
        Ok((count, None)) => {
            bail!("device {name}: this machine has {count}, expected an index below {count}")
        }
        Ok((_, Some((device, identity)))) => {
            let description = match identity {
                Some(identity) => format!("{name}, {identity}"),
                None => name.to_owned(),
            };
            Ok(OpenDevice { device, description })
        }
    }
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
