// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Directory} from "../src/Directory.sol";
import {Notary} from "../src/Notary.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {MerkleTwin} from "./helpers/MerkleTwin.sol";
import {RfcHarness} from "./helpers/RfcHarness.sol";
import {Test} from "./helpers/Test.sol";

/// @notice The vectors that Python reads too (tests/vectors/ledger, written by make_vectors.py).
contract VectorsTest is Test {
    struct InclusionCase {
        bytes32 digest;
        string fault;
        uint64 index;
        string name;
        bytes32[] path;
        bytes32 root;
        uint64 size;
    }

    struct RootCase {
        string name;
        bytes32 root;
        uint256 size;
    }

    struct KeyIdCase {
        bytes32 keyId;
        string material;
        string name;
    }

    struct SlotCase {
        string contractName;
        string name;
        bytes32 slot;
        bytes32 value;
    }

    string private constant INCLUSION =
        "InclusionCase(bytes32 digest,string fault,uint64 index,string name,bytes32[] path,bytes32 root,uint64 size)";
    string private constant FOLDER = "../tests/vectors/ledger/";

    RfcHarness private harness;
    Directory private directory;
    Notary private notary;

    function setUp() public {
        harness = new RfcHarness();
        directory = new Directory(address(this));
        notary = new Notary(directory);
    }

    function test_Inclusion_Valid() public {
        InclusionCase[] memory cases = _inclusion("inclusion-valid");
        directory.admit(address(this), "Vectors");
        for (uint256 i = 0; i < cases.length; ++i) {
            InclusionCase memory c = cases[i];
            (uint64 number,) = notary.anchorOf(address(this), c.root, c.size);
            if (number == 0) notary.anchor(c.root, c.size);
            notary.verify(address(this), c.root, c.size, c.index, c.digest, c.path);
        }
    }

    function test_Inclusion_WrongIndex() public view {
        _checkFaults("inclusion-wrong-index");
    }

    function test_Inclusion_WrongSize() public view {
        _checkFaults("inclusion-wrong-size");
    }

    function test_Inclusion_WrongLength() public view {
        _checkFaults("inclusion-wrong-length");
    }

    function test_Inclusion_Tampered() public view {
        _checkFaults("inclusion-tampered");
    }

    function test_Inclusion_ThePathAloneDoesNotBindTheSizeTheAnchorDoes() public {
        InclusionCase[] memory cases = _inclusion("inclusion-size-not-bound");
        directory.admit(address(this), "Vectors");
        for (uint256 i = 0; i < cases.length; ++i) {
            InclusionCase memory c = cases[i];
            harness.verify(c.digest, c.index, c.size, c.path, c.root);
            try notary.verify(address(this), c.root, c.size, c.index, c.digest, c.path) {
                isTrue(false, c.name);
            } catch (bytes memory reason) {
                equal(_nameOf(reason), "NotAnchored", c.name);
            }
        }
    }

    function test_Roots_MatchTheNaiveTwin() public view {
        bytes memory data =
            vm.parseJsonTypeArray(_read("roots"), ".cases", "RootCase(string name,bytes32 root,uint256 size)");
        RootCase[] memory cases = abi.decode(data, (RootCase[]));
        isTrue(cases.length > 30, "cases");
        for (uint256 i = 0; i < cases.length; ++i) {
            bytes32[] memory digests = new bytes32[](cases[i].size);
            for (uint256 j = 0; j < digests.length; ++j) {
                digests[j] = sha256(bytes.concat("statement ", bytes(vm.toString(j))));
            }
            equal(MerkleTwin.root(digests, 0, digests.length), cases[i].root, cases[i].name);
        }
    }

    function test_KeyIds() public {
        bytes memory data =
            vm.parseJsonTypeArray(_read("key-ids"), ".cases", "KeyIdCase(bytes32 keyId,string material,string name)");
        KeyIdCase[] memory cases = abi.decode(data, (KeyIdCase[]));
        equal(cases.length, 3, "cases");
        directory.admit(address(this), "Vectors");
        for (uint256 i = 0; i < cases.length; ++i) {
            bytes memory material = bytes(cases[i].material);
            bytes32 keyId = directory.publishKey(IDirectory.KeyUse.Signing, material, 0, 0);
            equal(keyId, cases[i].keyId, cases[i].name);
        }
    }

    /// @dev Plays the story that make_vectors.py tells in `slots`.
    function test_StorageSlots() public {
        address mine = account("mine");
        bytes32 digest = sha256("statement 0");
        bytes32 root = harness.leafHash(digest);
        vm.warp(1_700_000_000);
        directory.admit(mine, "Mine AG");
        vm.prank(mine);
        directory.publishKey(IDirectory.KeyUse.Signing, "{}", 0, 0);
        vm.prank(mine);
        directory.publishKey(IDirectory.KeyUse.Recipient, "age1example", 0, 1_700_000_020);
        vm.warp(1_700_000_010);
        vm.roll(77);
        vm.prank(mine);
        notary.anchor(root, 1);
        bytes32 reason = sha256("reason");
        vm.prank(mine);
        notary.revoke(digest, 1_700_000_000, reason, root, 1, 0, new bytes32[](0));
        directory.suspend(mine);
        vm.warp(1_700_000_020);
        directory.readmit(mine);

        bytes memory data = vm.parseJsonTypeArray(
            _read("storage-slots"), ".cases", "SlotCase(string contractName,string name,bytes32 slot,bytes32 value)"
        );
        SlotCase[] memory cases = abi.decode(data, (SlotCase[]));
        equal(cases.length, 11, "cases");
        for (uint256 i = 0; i < cases.length; ++i) {
            bool inNotary = keccak256(bytes(cases[i].contractName)) == keccak256("Notary");
            address target = inNotary ? address(notary) : address(directory);
            equal(vm.load(target, cases[i].slot), cases[i].value, cases[i].name);
        }
    }

    function _checkFaults(string memory scenario) private view {
        InclusionCase[] memory cases = _inclusion(scenario);
        for (uint256 i = 0; i < cases.length; ++i) {
            InclusionCase memory c = cases[i];
            try harness.verify(c.digest, c.index, c.size, c.path, c.root) {
                equal("", c.fault, c.name);
            } catch (bytes memory reason) {
                equal(_nameOf(reason), c.fault, c.name);
            }
        }
    }

    function _inclusion(string memory scenario) private view returns (InclusionCase[] memory cases) {
        cases = abi.decode(vm.parseJsonTypeArray(_read(scenario), ".cases", INCLUSION), (InclusionCase[]));
        isTrue(cases.length > 10, "too few cases");
    }

    function _read(string memory scenario) private view returns (string memory) {
        return vm.readFile(string.concat(FOLDER, scenario, ".json"));
    }

    function _nameOf(bytes memory reason) private pure returns (string memory) {
        bytes4 selector = bytes4(reason);
        if (selector == bytes4(keccak256("IndexOutOfRange(uint64,uint64)"))) return "IndexOutOfRange";
        if (selector == bytes4(keccak256("WrongPathLength(uint64,uint64,uint256)"))) return "WrongPathLength";
        if (selector == bytes4(keccak256("RootMismatch(bytes32,bytes32)"))) return "RootMismatch";
        if (selector == bytes4(keccak256("NotAnchored(address,bytes32,uint64)"))) return "NotAnchored";
        return "another error";
    }
}
