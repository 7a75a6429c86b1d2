"""What `index lint` looks for, as data; docs/findings.md is made from it."""

from __future__ import annotations

from runtimeimg.findings import Rule, Severity

_ANNOTATIONS = "OCI image-spec, annotations.md, Rules"
_INDEX = "OCI image-spec, image-index.md"

KEY_NOT_REVERSED = Rule(
    id="INDEX-001",
    title="Annotation keys are names in reverse domain notation",
    severity=Severity.WARNING,
    explanation="A key such as 'gpu' belongs to nobody: two projects may mean different things by it, and preferences "
    "that rank by namespace cannot tell whose it is. A key begins with a domain of its owner, reversed, and has at "
    "least one word behind it.",
    bad='"annotations": {"gpu": "a100", "example.com/gpu": "a100"}',
    good='"annotations": {"com.example.gpu": "a100"}',
    source=_ANNOTATIONS,
)
RESERVED_KEY = Rule(
    id="INDEX-002",
    title="Keys under 'org.opencontainers.' are those that the specification defines",
    severity=Severity.ERROR,
    explanation="The prefix is reserved for OCI specifications, and others must not use it. A misspelt key is read by "
    "nobody; a made-up one may get a meaning in a later version.",
    bad='"annotations": {"org.opencontainers.image.gpu": "a100"}',
    good='"annotations": {"org.opencontainers.image.version": "1.4", "com.example.gpu": "a100"}',
    source=_ANNOTATIONS,
)
KEY_LOOKS_ALIKE = Rule(
    id="INDEX-003",
    title="No two keys look alike, and all of them are plain ASCII",
    severity=Severity.WARNING,
    explanation="Keys are compared byte by byte. Two that differ only in case, or by a letter of another alphabet that "
    "looks the same, are two keys, and a preference for one of them passes over the entries with the other.",
    bad='"manifests": [{"annotations": {"com.example.gpu": "a"}}, {"annotations": {"com.example.GPU": "b"}}]',
    good='"manifests": [{"annotations": {"com.example.gpu": "a"}}, {"annotations": {"com.example.gpu": "b"}}]',
    source=_ANNOTATIONS,
)
WRONG_SPELLING = Rule(
    id="INDEX-004",
    title="Annotations stand under 'annotations', not 'annotation'",
    severity=Severity.WARNING,
    explanation="The example of the runtime-annotations proposal has 'annotation' in a descriptor. This tool reads "
    "it; registries, engines and other tools do not.",
    bad='{"digest": "sha256:...", "annotation": {"com.example.gpu": "a100"}}',
    good='{"digest": "sha256:...", "annotations": {"com.example.gpu": "a100"}}',
    source="OCI image-spec, descriptor.md, Properties",
)
SPECIAL_FIRST = Rule(
    id="INDEX-005",
    title="The plain entry stands before the special ones",
    severity=Severity.WARNING,
    explanation="Of entries for one platform that meet the requirements, the one whose annotations weigh most is "
    "chosen, and of equals the first. An entry behind one that has all of its annotations with the same values, and "
    "more, is chosen only where something speaks against that one: a requirement, a negative weight. Runtimes that "
    "know nothing of annotations never take it, and run the special image everywhere.",
    bad='"manifests": [{"platform": amd64, "annotations": {"com.example.gpu": "a100"}}, {"platform": amd64}]',
    good='"manifests": [{"platform": amd64}, {"platform": amd64, "annotations": {"com.example.gpu": "a100"}}]',
    source=f'{_INDEX}, "the first matching entry SHOULD be used"; runtime-annotations proposal',
)
NEVER_WINS = Rule(
    id="INDEX-006",
    title="Every entry can be chosen by somebody",
    severity=Severity.WARNING,
    explanation="Two entries with the same platform and the same annotations are a tie, and cannot be told apart from "
    "the index alone. The first always wins: nobody can prefer the second.",
    bad='"manifests": [{"digest": "sha256:1...", "platform": amd64}, {"digest": "sha256:2...", "platform": amd64}]',
    good='"manifests": [{"digest": "sha256:1...", "platform": amd64}, '
    '{"digest": "sha256:2...", "platform": amd64, "annotations": {"com.example.debug": "true"}}]',
    source=_INDEX,
)
SAME_EVERYWHERE = Rule(
    id="INDEX-007",
    title="What holds for all entries stands at the index",
    severity=Severity.INFO,
    explanation="An annotation that every entry has with the same value chooses nothing, and is sent with every pull "
    "as often as there are entries. Annotations of descriptors are for what differs.",
    bad='"manifests": [{"annotations": {"com.example.team": "web"}}, {"annotations": {"com.example.team": "web"}}]',
    good='"annotations": {"com.example.team": "web"}, "manifests": [...]',
    source='runtime-annotations proposal, "Image authors SHOULD limit annotations"',
)
ONLY_AT_INDEX = Rule(
    id="INDEX-008",
    title="What entries are chosen by does not stand at the index",
    severity=Severity.WARNING,
    explanation="An annotation of the index is about all of it and takes no part in the choice. A key that some "
    "entries have and the index has too was probably meant as a default for the others, which no runtime makes of it.",
    bad='"annotations": {"com.example.gpu": "none"}, "manifests": [{}, {"annotations": {"com.example.gpu": "a100"}}]',
    good='"manifests": [{"annotations": {"com.example.gpu": "none"}}, {"annotations": {"com.example.gpu": "a100"}}]',
    source=_INDEX,
)
REF_NAME = Rule(
    id="INDEX-009",
    title="'org.opencontainers.image.ref.name' is for the index.json of a layout",
    severity=Severity.WARNING,
    explanation="The key names an entry of a layout's index.json. In an index that is pushed it means nothing, and "
    "tools that copy the index into a layout may take it for a tag.",
    bad='"manifests": [{"annotations": {"org.opencontainers.image.ref.name": "1.4"}}]',
    good='"manifests": [{"annotations": {"org.opencontainers.image.version": "1.4"}}]',
    source="OCI image-spec, annotations.md, Pre-Defined Annotation Keys",
)
TOO_LARGE = Rule(
    id="INDEX-010",
    title="An index is small",
    severity=Severity.WARNING,
    explanation="Every pull of every variant reads the whole index first, and runtimes may refuse a large one: "
    "registries commonly take 4 MiB, and clients less. 'index lint --budget' sets what is still small.",
    bad="an index of 900 KiB, most of it descriptions in annotations of its entries",
    good="an index of 20 KiB; the descriptions stand in the manifests",
    source='runtime-annotations proposal, "Runtimes MAY reject manifests that exceed size limits"',
)
NO_PLATFORM = Rule(
    id="INDEX-011",
    title="Every image of an index has a platform",
    severity=Severity.WARNING,
    explanation="Without a platform in its descriptor an entry comes last, and only its config tells what it is for: "
    "one more request, and some tools take it for fitting every machine.",
    bad='{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:..."}',
    good='{"digest": "sha256:...", "platform": {"os": "linux", "architecture": "amd64"}}',
    source=f"{_INDEX}, platform",
)
UNKNOWN_PLATFORM = Rule(
    id="INDEX-012",
    title="Provenance refers to its image and is no entry for 'unknown/unknown'",
    severity=Severity.INFO,
    explanation="BuildKit lists attestations in the index under the platform unknown/unknown. Registries show that as "
    "a platform of the image, and copies of single entries lose it. An artifact with the image as its subject says the "
    "same without an entry.",
    bad='{"platform": {"os": "unknown", "architecture": "unknown"}, '
    '"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}',
    good='an artifact manifest with "subject": {"digest": "sha256:..."} beside the index',
    source="OCI distribution-spec 1.1, referrers",
)
ODD_PLATFORM = Rule(
    id="INDEX-013",
    title="Platforms are spelt as Go spells them",
    severity=Severity.WARNING,
    explanation="'x86_64', 'aarch64' or 'macos' are normalised by containerd but not by podman, skopeo and buildah, "
    "for which such an entry fits no machine. A variant that no engine knows (an arm64 'v10', an amd64 'v5') fits "
    "nowhere at all.",
    bad='"platform": {"os": "Linux", "architecture": "x86_64"}',
    good='"platform": {"os": "linux", "architecture": "amd64"}',
    source=f"{_INDEX}, platform; containerd/platforms, normalisation",
)
RESERVED_FIELD = Rule(
    id="INDEX-014",
    title="Platforms have no fields beside those of the specification",
    severity=Severity.INFO,
    explanation="'features' is reserved for later versions, others are not known; no engine looks at them. What is to "
    "be chosen by stands in annotations, or in os.features where an engine knows the feature.",
    bad='"platform": {"os": "linux", "architecture": "amd64", "features": ["avx512"]}',
    good='"platform": {"os": "linux", "architecture": "amd64", "variant": "v4"}',
    source=f"{_INDEX}, platform.features",
)
NO_IMAGE = Rule(
    id="INDEX-015",
    title="Entries that are no images are not for a platform",
    severity=Severity.ERROR,
    explanation="An entry whose media type is no manifest's, or that is another artifact, is not run by any engine; "
    "with a platform it is chosen all the same, and the pull fails.",
    bad='{"mediaType": "application/vnd.oci.image.config.v1+json", '
    '"platform": {"os": "linux", "architecture": "amd64"}}',
    good='{"mediaType": "application/vnd.oci.image.manifest.v1+json", '
    '"platform": {"os": "linux", "architecture": "amd64"}}',
    source=f"{_INDEX}, manifests",
)
NESTED = Rule(
    id="INDEX-016",
    title="An index lists images, not indexes",
    severity=Severity.WARNING,
    explanation="containerd follows indexes inside an index, podman, skopeo and Docker's classic store do not: for "
    "them the images in it are not there. 'index create --flatten' lists them one by one.",
    bad='"manifests": [{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:..."}]',
    good='"manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:..."}]',
    source=f"{_INDEX}, manifests",
)
MIXED_TYPES = Rule(
    id="INDEX-017",
    title="An index and its entries are of one family of media types",
    severity=Severity.WARNING,
    explanation="Docker's manifest lists hold Docker's manifests, OCI indexes hold OCI's. Registries and clients take "
    "mixtures to different degrees, and annotations are not part of Docker's format at all.",
    bad="a manifest list of Docker's whose entries are application/vnd.oci.image.manifest.v1+json",
    good="an OCI index whose entries are application/vnd.oci.image.manifest.v1+json",
    source=f"{_INDEX}; Docker Image Manifest Version 2, Schema 2",
)
OTHER_CONFIG = Rule(
    id="INDEX-018",
    title="The platform of an entry is that of its image's config",
    severity=Severity.ERROR,
    explanation="The choice goes by the entry, the engine checks the config: where they differ the wrong image is "
    "pulled for one machine, and none for the other. A level or variant that the entry has and the config lacks is "
    "no contradiction.",
    bad='an entry for {"os": "linux", "architecture": "arm64"}; the config has "architecture": "amd64"',
    good='an entry for {"os": "linux", "architecture": "arm64"}; the config has "architecture": "arm64"',
    source="OCI image-spec, config.md, architecture, os, variant",
)
NOT_AT_ENTRY = Rule(
    id="INDEX-019",
    title="What an image is chosen by stands at its entry, not only in its manifest",
    severity=Severity.WARNING,
    explanation="Runtimes choose from the index alone. An annotation that is only in the manifest of one of several "
    "images for a platform is seen when the choice is over.",
    bad="two entries for amd64 without annotations; the manifest of the second has com.example.gpu: a100",
    good="the entry of the second has com.example.gpu: a100",
    source='runtime-annotations proposal, "selecting which image to run should only require pulling the Index"',
)
HIGHER_LEVEL = Rule(
    id="INDEX-020",
    title="Programs need no higher amd64 level than their entry claims",
    severity=Severity.ERROR,
    explanation="A program or library says in a GNU property note which x86-64 level it cannot do without. Where "
    "that is above the variant of the entry (none means v1), the image is chosen on machines on which it ends with "
    "'CPU ISA level is lower than required' or an illegal instruction. Variants below glibc-hwcaps folders are left "
    "out: the loader takes them only where they run.",
    bad='"platform": {"architecture": "amd64"} of an image whose libc needs x86-64-v3',
    good='"platform": {"architecture": "amd64", "variant": "v3"}',
    source="x86-64 psABI, GNU_PROPERTY_X86_ISA_1_NEEDED",
)
OTHER_PROCESSOR = Rule(
    id="INDEX-021",
    title="An image holds programs for the processor of its entry",
    severity=Severity.ERROR,
    explanation="All ELF files of the image are for another processor than entry and config say: it was built on one "
    "machine and labelled for another. It fails at its start with 'exec format error'.",
    bad='"platform": {"architecture": "arm64"} of an image with programs for amd64 only',
    good='"platform": {"architecture": "arm64"} of an image with programs for arm64',
    source="System V ABI, e_machine",
)

RULES = (
    KEY_NOT_REVERSED,
    RESERVED_KEY,
    KEY_LOOKS_ALIKE,
    WRONG_SPELLING,
    SPECIAL_FIRST,
    NEVER_WINS,
    SAME_EVERYWHERE,
    ONLY_AT_INDEX,
    REF_NAME,
    TOO_LARGE,
    NO_PLATFORM,
    UNKNOWN_PLATFORM,
    ODD_PLATFORM,
    RESERVED_FIELD,
    NO_IMAGE,
    NESTED,
    MIXED_TYPES,
    OTHER_CONFIG,
    NOT_AT_ENTRY,
    HIGHER_LEVEL,
    OTHER_PROCESSOR,
)
"""All of them, by id."""
