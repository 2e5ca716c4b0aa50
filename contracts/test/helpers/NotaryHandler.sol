// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Directory} from "../../src/Directory.sol";
import {Notary} from "../../src/Notary.sol";
import {Test} from "./Test.sol";
import {Trees} from "./Trees.sol";

/// @notice Members and outsiders anchor, copy each other's anchors, and revoke each other's statements at random.
contract NotaryHandler is Test {
    uint256 private constant BATCHES = 5;

    struct Made {
        address account;
        bytes32 root;
        uint64 size;
        uint64 number;
        uint64 time;
    }

    struct Revoked {
        address account;
        bytes32 digest;
        uint64 effective;
        uint64 time;
        bytes32 reason;
    }

    Directory public immutable directory;
    Notary public immutable notary;
    address[] public actors;
    Made[] public made;
    Revoked[] public revoked;
    uint64 public clock = 1_700_000_000;
    uint64 public number = 100;

    constructor() {
        vm.warp(clock);
        vm.roll(number);
        directory = new Directory(address(this));
        notary = new Notary(directory);
        for (uint160 i = 1; i <= 4; ++i) {
            actors.push(address(i * 0x1111));
        }
        directory.admit(actors[0], "First");
        directory.admit(actors[1], "Second");
        directory.admit(actors[2], "Third");
    }

    function toggle(uint256 seed) external {
        address who = actors[seed % 3];
        if (directory.isActive(who)) directory.suspend(who);
        else directory.readmit(who);
    }

    function pass(uint8 blocks) external {
        number += 1 + blocks % 5;
        clock += 12 * uint64(1 + blocks % 5);
        vm.roll(number);
        vm.warp(clock);
    }

    /// @dev A batch has a size of its own; a fourth of the anchors lie about it.
    function anchor(uint256 seed, uint256 batch, uint8 lie) external {
        address who = actors[seed % actors.length];
        bytes32[] memory list = _batch(batch);
        bytes32 root = Trees.root(list);
        uint64 size = lie % 4 == 0 ? lie / 64 : uint64(list.length);
        bool fine = directory.isActive(who) && size > 0 && _indexOf(who, root, size) == made.length;
        vm.prank(who);
        try notary.anchor(root, size) {
            isTrue(fine, "anchored against the rules");
            made.push(Made(who, root, size, number, clock));
        } catch {
            isTrue(!fine, "a proper anchor was refused");
        }
    }

    function revoke(uint256 seed, uint256 batch, uint256 index, uint64 effective, bytes32 reason) external {
        address who = actors[seed % actors.length];
        bytes32[] memory list = _batch(batch);
        index = index % list.length;
        bytes32[] memory path = Trees.path(list, index);
        bytes32 root = Trees.root(list);
        uint64 size = uint64(list.length);
        bool fine = directory.isActive(who) && reason != 0 && _indexOf(who, root, size) < made.length
            && !_isRevoked(who, list[index]);
        vm.prank(who);
        try notary.revoke(list[index], effective, reason, root, size, uint64(index), path) {
            isTrue(fine, "revoked against the rules");
            revoked.push(Revoked(who, list[index], effective == 0 ? clock : effective, clock, reason));
        } catch {
            isTrue(!fine, "a proper revocation was refused");
        }
    }

    /// @dev Nobody revokes with a path of another batch.
    function revokeForeign(uint256 seed, uint256 batch, bytes32 digest) external {
        address who = actors[seed % actors.length];
        bytes32[] memory list = _batch(batch);
        bytes32[] memory path = Trees.path(list, 0);
        bytes32 root = Trees.root(list);
        vm.prank(who);
        try notary.revoke(digest, 0, bytes32(uint256(1)), root, uint64(list.length), 0, path) {
            isTrue(false, "revoked what the batch does not include");
        } catch {}
    }

    function counts() external view returns (uint256 madeCount, uint256 revokedCount) {
        return (made.length, revoked.length);
    }

    /// @dev Every (account, digest) that could have been revoked.
    function universe() external view returns (address[] memory accounts, bytes32[] memory digests) {
        accounts = actors;
        digests = new bytes32[](15);
        uint256 next = 0;
        for (uint256 i = 0; i < BATCHES; ++i) {
            bytes32[] memory list = _batch(i);
            for (uint256 j = 0; j < list.length; ++j) {
                digests[next++] = list[j];
            }
        }
    }

    function isRevoked(address who, bytes32 digest) external view returns (bool) {
        return _isRevoked(who, digest);
    }

    function _batch(uint256 seed) private pure returns (bytes32[] memory) {
        return Trees.digests(seed % BATCHES, 1 + seed % BATCHES);
    }

    function _indexOf(address who, bytes32 root, uint64 size) private view returns (uint256 i) {
        for (; i < made.length; ++i) {
            if (made[i].account == who && made[i].root == root && made[i].size == size) return i;
        }
    }

    function _isRevoked(address who, bytes32 digest) private view returns (bool) {
        for (uint256 i = 0; i < revoked.length; ++i) {
            if (revoked[i].account == who && revoked[i].digest == digest) return true;
        }
        return false;
    }
}
