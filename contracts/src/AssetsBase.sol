// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

import {IAssets} from "./interfaces/IAssets.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {INotary} from "./interfaces/INotary.sol";

/// @title What Assets keeps, how it is read, and what each call demands; see IAssets
abstract contract AssetsBase is IAssets, ERC721 {
    /// @notice The longest list of assets in one call: with it, every call fits into the gas of a transaction (EIP-7825).
    uint256 public constant MAX_COUNT = 128;
    /// @notice The longest place, in bytes.
    uint256 public constant MAX_PLACE_BYTES = 256;
    /// @notice The most levels of bundles: so many steps find the holder.
    uint256 public constant MAX_LEVELS = 16;

    /// @dev Three words. Maker (low 160 bits), kind, state, recalled, levels (8 each), unit (24); quantity, mass (128
    /// each); offeredTo (160), bundle (64), of which one at least is zero.
    struct Entry {
        address maker;
        Kind kind;
        State state;
        bool recalled;
        uint8 levels;
        bytes3 unit;
        uint128 quantity;
        uint128 mass;
        address offeredTo;
        uint64 bundle;
    }

    /// @inheritdoc IAssets
    INotary public immutable notary;
    /// @inheritdoc IAssets
    IDirectory public immutable directory;

    /// @inheritdoc IAssets
    uint256 public assetCount;
    mapping(uint256 id => Entry) internal _assets;
    mapping(uint256 id => bytes32) internal _transfers;
    // Four ids a word: a bundle of 128 is written in 32.
    mapping(uint256 id => uint64[]) internal _children;
    mapping(uint256 id => mapping(address issuer => mapping(bytes32 digest => bool))) internal _links;
    mapping(uint256 id => mapping(address by => bytes32)) internal _recalls;

    modifier onlyActive() {
        _requireActive(msg.sender);
        _;
    }

    /// @param notary_ The Notary that evidence is checked by; its Directory says who may act
    constructor(INotary notary_) ERC721("docex assets", "DOCEX") {
        if (address(notary_).code.length == 0) revert NotaryHasNoCode(address(notary_));
        notary = notary_;
        directory = notary_.directory();
    }

    /// @notice Always reverts.
    function approve(address, uint256) public pure override {
        revert CustodyMovesByOffer();
    }

    /// @notice Always reverts.
    function setApprovalForAll(address, bool) public pure override {
        revert CustodyMovesByOffer();
    }

    /// @inheritdoc IAssets
    function assetOf(uint256 id) external view returns (Asset memory) {
        Entry memory entry = _assets[id];
        return Asset({
            maker: entry.maker,
            kind: entry.kind,
            state: entry.state,
            recalled: entry.recalled,
            levels: entry.levels,
            unit: entry.unit,
            quantity: entry.quantity,
            mass: entry.mass,
            bundle: entry.bundle
        });
    }

    /// @inheritdoc IAssets
    function holderOf(uint256 id) public view returns (address) {
        for (uint256 outer = _assets[id].bundle; outer != 0; outer = _assets[id].bundle) {
            id = outer;
        }
        return _ownerOf(id);
    }

    /// @inheritdoc IAssets
    function offerOf(uint256 id) public view returns (address to, bytes32 transfer) {
        return (_assets[id].offeredTo, _transfers[id]);
    }

    /// @inheritdoc IAssets
    function childrenOf(uint256 id) external view returns (uint256[] memory children) {
        uint64[] storage inside = _children[id];
        children = new uint256[](inside.length);
        for (uint256 i = 0; i < children.length; ++i) {
            children[i] = inside[i];
        }
    }

    /// @inheritdoc IAssets
    function isLinked(uint256 id, address issuer, bytes32 digest) external view returns (bool) {
        return _links[id][issuer][digest];
    }

    /// @inheritdoc IAssets
    function recallOf(uint256 id, address by) external view returns (bytes32) {
        return _recalls[id][by];
    }

    /// @dev What `transferFrom` and `safeTransferFrom` come to, which alone name whose right to check. (To override them
    /// would leave unreachable code in ERC721, which is a warning.)
    function _update(address to, uint256 id, address auth) internal override returns (address) {
        if (auth != address(0)) revert CustodyMovesByOffer();
        return super._update(to, id, auth);
    }

    function _reserve(uint256 count) internal returns (uint256 first) {
        first = assetCount + 1;
        assetCount += count;
    }

    function _begin(uint256 id, address maker, Spec memory spec) internal {
        if (spec.kind == Kind.Bundle) revert BadKind(spec.kind);
        if (spec.quantity == 0) revert NoQuantity();
        _requireUnit(spec.unit);
        bool inMilligrams = spec.unit == "KGM" && spec.mass != 0;
        if (inMilligrams && spec.mass != spec.quantity) revert MassIsNotQuantity(spec.mass, spec.quantity);
        Entry storage entry = _assets[id];
        (entry.maker, entry.kind, entry.state, entry.unit) = (maker, spec.kind, State.Live, spec.unit);
        (entry.quantity, entry.mass) = (spec.quantity, spec.mass);
        _mint(msg.sender, id);
    }

    function _end(uint256 id, State state) internal {
        _assets[id].state = state;
        _burn(id);
    }

    /// @dev An asset that the caller holds itself, not in a bundle.
    function _held(uint256 id) internal view returns (Entry storage asset) {
        asset = _assets[id];
        if (asset.state != State.Live) revert NotLive(id, asset.state);
        if (asset.bundle != 0) revert InBundle(id, asset.bundle);
        if (_ownerOf(id) != msg.sender) revert NotHolder(id, msg.sender);
    }

    /// @dev One that, besides, is not offered to anybody.
    function _free(uint256 id) internal view returns (Entry storage asset) {
        asset = _held(id);
        if (asset.offeredTo != address(0)) revert OfferIsOpen(id, asset.offeredTo);
    }

    /// @dev One that, besides, was never recalled: something can be made of it.
    function _fit(uint256 id) internal view returns (Entry storage asset) {
        asset = _free(id);
        if (asset.recalled) revert AssetRecalled(id);
    }

    function _requireActive(address account) internal view {
        if (!directory.isActive(account)) revert NotActiveMember(account);
    }

    function _requireEvidence(Evidence calldata evidence) internal view {
        // It reverts unless the batch is anchored and includes the statement.
        // slither-disable-next-line unused-return
        notary.verify(evidence.issuer, evidence.root, evidence.size, evidence.index, evidence.digest, evidence.path);
        // slither-disable-next-line unused-return
        (uint64 effective, uint64 time,) = notary.revocationOf(evidence.issuer, evidence.digest);
        // A proposer's few seconds decide nothing: revocations are told in days.
        // forge-lint: disable-next-line(block-timestamp)
        if (time != 0 && effective <= block.timestamp) {
            revert EvidenceRevoked(evidence.issuer, evidence.digest, effective);
        }
    }

    function _requireCount(uint256 count, uint256 min) internal pure {
        if (count < min || count > MAX_COUNT) revert BadCount(count, min, MAX_COUNT);
    }

    function _requireUnit(bytes3 unit) internal pure {
        bool ended = false;
        for (uint256 i = 0; i < 3; ++i) {
            bytes1 letter = unit[i];
            if (letter == 0 && i > 0) ended = true;
            else if (ended || !_isCode(letter)) revert BadUnit(unit);
        }
    }

    function _isCode(bytes1 letter) internal pure returns (bool) {
        return (letter >= "0" && letter <= "9") || (letter >= "A" && letter <= "Z");
    }
}
