// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rfc9162} from "./Rfc9162.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {INotary} from "./interfaces/INotary.sol";

/// @title The Notary; see INotary
contract Notary is INotary {
    /// @dev `effective` in the low 64 bits of the first slot, `time` in the next 64; `revocation` in the second slot.
    struct Revocation {
        uint64 effective;
        uint64 time;
        bytes32 revocation;
    }

    /// @inheritdoc INotary
    IDirectory public immutable directory;

    // Proofs name these slots: their order and the packing of the structs are part of docs/ledger.md.
    // An anchor is one word, so that it costs one write: the block number in the low 64 bits, its time in the next 64.
    mapping(address member => mapping(bytes32 root => mapping(uint64 size => uint256))) private _anchors;
    mapping(address member => mapping(bytes32 digest => Revocation)) private _revocations;

    /// @param directory_ The Directory that says who may write
    constructor(IDirectory directory_) {
        if (address(directory_).code.length == 0) revert DirectoryHasNoCode(address(directory_));
        directory = directory_;
    }

    modifier onlyActive() {
        _requireActive();
        _;
    }

    /// @inheritdoc INotary
    function anchor(bytes32 root, uint64 size) external onlyActive {
        if (size == 0) revert EmptyBatch();
        mapping(uint64 size => uint256) storage anchors = _anchors[msg.sender][root];
        if (anchors[size] != 0) revert AlreadyAnchored(msg.sender, root, size);
        anchors[size] = block.number | (block.timestamp << 64);
        emit Anchored(msg.sender, root, size);
    }

    /// @inheritdoc INotary
    function revoke(
        bytes32 digest,
        uint64 effective,
        bytes32 revocation,
        bytes32 root,
        uint64 size,
        uint64 index,
        bytes32[] calldata path
    ) external onlyActive {
        if (revocation == bytes32(0)) revert NoRevocationStatement();
        Revocation storage entry = _revocations[msg.sender][digest];
        if (entry.time != 0) revert AlreadyRevoked(msg.sender, digest);
        _requireIncluded(msg.sender, root, size, index, digest, path);
        uint64 time = uint64(block.timestamp);
        if (effective == 0) effective = time;
        (entry.effective, entry.time, entry.revocation) = (effective, time, revocation);
        emit Revoked(msg.sender, digest, effective, revocation);
    }

    /// @inheritdoc INotary
    function verify(address member, bytes32 root, uint64 size, uint64 index, bytes32 digest, bytes32[] calldata path)
        external
        view
        returns (uint64 blockNumber, uint64 time)
    {
        return _unpack(_requireIncluded(member, root, size, index, digest, path));
    }

    /// @inheritdoc INotary
    function anchorOf(address member, bytes32 root, uint64 size)
        external
        view
        returns (uint64 blockNumber, uint64 time)
    {
        return _unpack(_anchors[member][root][size]);
    }

    /// @inheritdoc INotary
    function revocationOf(address member, bytes32 digest)
        external
        view
        returns (uint64 effective, uint64 time, bytes32 revocation)
    {
        Revocation memory entry = _revocations[member][digest];
        return (entry.effective, entry.time, entry.revocation);
    }

    function _requireActive() private view {
        if (!directory.isActive(msg.sender)) revert NotActiveMember(msg.sender);
    }

    function _requireIncluded(
        address member,
        bytes32 root,
        uint64 size,
        uint64 index,
        bytes32 digest,
        bytes32[] calldata path
    ) private view returns (uint256 entry) {
        entry = _anchors[member][root][size];
        // Slither takes the packed word for a balance that somebody could move past zero: it is written once, whole.
        // slither-disable-next-line incorrect-equality
        if (entry == 0) revert NotAnchored(member, root, size);
        Rfc9162.verifyInclusion(Rfc9162.leafHash(digest), index, size, path, root);
    }

    function _unpack(uint256 entry) private pure returns (uint64 blockNumber, uint64 time) {
        // Both halves were 64-bit numbers when `anchor` packed them.
        // forge-lint: disable-next-line(unsafe-typecast)
        return (uint64(entry), uint64(entry >> 64));
    }
}
